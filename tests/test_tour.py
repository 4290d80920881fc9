"""The notebook is stored with its outputs; they are current, and it runs from top to bottom in a kernel of its own."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import nbformat
import notebook
import numpy as np
import pytest
from PIL import Image

TOUR = notebook.NOTEBOOK
PNG = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def pictures(tour: Any) -> list[np.ndarray]:
    """Every picture in the outputs, in order."""
    shown = [str(output.get("data", {}).get("text/html", "")) for output in notebook.outputs(tour)]
    found = [base64.b64decode(text) for one in shown for text in PNG.findall(one)]
    return [np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), np.float64) for one in found]


def texts(tour: Any) -> list[str]:
    """Every output that is text alone, in order."""
    plain = [output for output in notebook.outputs(tour) if "text/html" not in output.get("data", {})]
    return [str(output.get("text") or output["data"]["text/plain"]) for output in plain]


def numbers(text: str) -> list[float]:
    return [float(number) for number in NUMBER.findall(text)]


def test_it_is_valid_and_its_outputs_are_those_of_its_sources() -> None:
    tour = nbformat.read(TOUR, as_version=4)
    nbformat.validate(tour)
    assert tour.metadata[notebook.DIGEST] == notebook.digest(tour), "run `make notebook`"
    assert len(pictures(tour)) >= 20
    assert "Egyptian cat" in texts(tour)[-1]
    assert not any(output.output_type == "error" for output in notebook.outputs(tour))
    assert not any(output.get("name") == "stderr" for output in notebook.outputs(tour))


def test_other_sources_have_another_digest() -> None:
    tour = nbformat.read(TOUR, as_version=4)
    tour.cells[0].source += " "
    assert tour.metadata[notebook.DIGEST] != notebook.digest(tour)


@pytest.mark.slow
def test_run_again_it_shows_what_is_stored(tmp_path: Path) -> None:
    """The same words, numbers within 2 %, pictures within a few intensities: another machine rounds otherwise."""
    stored = nbformat.read(TOUR, as_version=4)
    ran = notebook.executed(stored, tmp_path)
    for before, after in zip(texts(stored), texts(ran), strict=True):
        assert NUMBER.sub("", before) == NUMBER.sub("", after), "run `make notebook`"
        assert numbers(after) == pytest.approx(numbers(before), rel=0.02, abs=0.01), "run `make notebook`"
    for before, after in zip(pictures(stored), pictures(ran), strict=True):
        assert before.shape == after.shape
        assert np.abs(before - after).mean() < 4, "run `make notebook`"
    assert list(tmp_path.iterdir()) == []
