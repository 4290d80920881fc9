"""The notebook is stored with its outputs; they are current, and it runs from top to bottom in a kernel of its own."""

from pathlib import Path
from typing import Any

import nbformat
import notebook
import pytest

TOUR = notebook.NOTEBOOK


def pictures(tour: Any) -> int:
    """How many outputs are pictures."""
    shown = [str(output.get("data", {}).get("text/html", "")) for output in notebook.outputs(tour)]
    return sum("data:image/png" in one for one in shown)


def texts(tour: Any) -> list[str]:
    """Every output that is text alone, in order."""
    plain = [output for output in notebook.outputs(tour) if "text/html" not in output.get("data", {})]
    return [str(output.get("text") or output["data"]["text/plain"]) for output in plain]


def test_it_is_valid_and_its_outputs_are_those_of_its_sources() -> None:
    tour = nbformat.read(TOUR, as_version=4)
    nbformat.validate(tour)
    assert tour.metadata[notebook.DIGEST] == notebook.digest(tour), "run `make notebook`"
    assert pictures(tour) >= 8
    assert "Egyptian cat" in texts(tour)[-1]
    assert not any(output.output_type == "error" for output in notebook.outputs(tour))


def test_other_sources_have_another_digest() -> None:
    tour = nbformat.read(TOUR, as_version=4)
    tour.cells[0].source += " "
    assert tour.metadata[notebook.DIGEST] != notebook.digest(tour)


@pytest.mark.slow
def test_run_again_it_shows_what_is_stored(tmp_path: Path) -> None:
    stored = nbformat.read(TOUR, as_version=4)
    ran = notebook.executed(stored, tmp_path)
    assert pictures(ran) == pictures(stored)
    assert texts(ran)[:1] + texts(ran)[-1:] == texts(stored)[:1] + texts(stored)[-1:], "run `make notebook`"
    assert list(tmp_path.iterdir()) == []
