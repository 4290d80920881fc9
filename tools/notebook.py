"""Run docs/tour.ipynb and store its outputs, without what differs from run to run.

    python tools/notebook.py

`make notebook` runs it. The notebook remembers the SHA-256 of the sources that its outputs came from, so that a test
can say whether they are current without running it.
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tour.ipynb"
DIGEST = "deepinside_sources_sha256"


def executed(notebook: Any, folder: Path) -> Any:
    """A copy that was run in `folder`, with its outputs, without execution times and messages of libraries."""
    ran = nbformat.from_dict(notebook)
    NotebookClient(ran, timeout=300, record_timing=False, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in (cell for cell in ran.cells if cell.cell_type == "code"):
        # messages on stderr depend on the installation and contain its paths
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    ran.metadata = {key: ran.metadata[key] for key in ("kernelspec", "language_info") if key in ran.metadata}
    ran.metadata[DIGEST] = digest(ran)
    return ran


def digest(notebook: Any) -> str:
    """SHA-256 over the sources of all cells."""
    return hashlib.sha256("\0".join(cell.source for cell in notebook.cells).encode()).hexdigest()


def outputs(notebook: Any) -> Iterator[Any]:
    """The outputs of all cells."""
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        ran = executed(nbformat.read(NOTEBOOK, as_version=4), Path(folder))
    nbformat.write(ran, NOTEBOOK)
    print(f"{NOTEBOOK.name}: {NOTEBOOK.stat().st_size // 1024} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
