"""The notebook runs from top to bottom in a kernel of its own, and is kept without outputs."""

from pathlib import Path

import pytest

from deepinside.home import HOME

TOUR = HOME / "docs" / "tour.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_it_finds(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    tour = nbformat.read(TOUR, as_version=4)
    NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in tour.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("data:image/png" in str(output.get("data", {}).get("text/html", "")) for output in shown) >= 8
    assert "nearest are Egyptian cat" in str(shown[-1])
    assert list(tmp_path.iterdir()) == []


def test_it_is_whole_and_kept_without_outputs() -> None:
    import nbformat

    tour = nbformat.read(TOUR, as_version=4)
    nbformat.validate(tour)
    assert all(not cell.outputs and cell.execution_count is None for cell in tour.cells if cell.cell_type == "code")
