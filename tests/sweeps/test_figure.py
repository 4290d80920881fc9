"""Where each run stands in the grid, what its cell shows, and how the metrics' axes are drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from deepinside.sweeps import figure
from deepinside.sweeps.runs import Run, Sweep


def run(
    metrics: dict[str, float] | None = None, status: Any = "done", folder: str | None = None, **overrides: Any
) -> Run:
    return Run(overrides, folder, "seen", "tiny", status, None if status == "done" else "why", 1.0, metrics or {})


def axes_of(runs: list[Run]) -> dict[str, list[Any]]:
    return Sweep("name", "command", runs).axes


def result(folder: Path, panels: list[str], items: list[str], size: int = 8) -> Path:
    """A result with a picture for every panel of every item, of one grey level each."""
    for number, panel in enumerate(panels):
        for item in items:
            path = folder / "panels" / panel / f"{item}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (size, size), (40 * (number + 1),) * 3).save(path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps({"items": {item: {} for item in items}}))
    return folder


# ---- the grid ----


def test_one_axis_runs_on_in_lines_of_six() -> None:
    runs = [run(seed=seed) for seed in range(8)]
    rows, columns = figure.lines(runs, axes_of(runs))
    assert columns == 6
    assert rows == [runs[:6], runs[6:]]


def test_two_axes_are_rows_and_columns_and_what_was_not_run_is_blank() -> None:
    runs = [run(l2=l2, seed=seed) for l2 in (0.1, 0.2) for seed in (0, 1, 2) if (l2, seed) != (0.2, 1)]
    rows, columns = figure.lines(runs, axes_of(runs))
    assert columns == 3
    assert [[found and found.overrides["seed"] for found in row] for row in rows] == [[0, 1, 2], [0, None, 2]]


def test_the_axis_with_the_most_values_runs_along_the_lines() -> None:
    runs = [run(l2=l2, seed=seed) for l2 in (1, 2, 3) for seed in (0, 1)]
    rows, columns = figure.lines(runs, axes_of(runs))
    assert columns == 3
    assert [[found and found.overrides["l2"] for found in row] for row in rows] == [[1, 2, 3], [1, 2, 3]]


def test_more_axes_are_nested_in_the_rows() -> None:
    runs = [run(net=net, l2=l2, seed=seed) for net in "ab" for l2 in (0.1, 0.2) for seed in (0, 1)]
    rows, columns = figure.lines(runs, axes_of(runs))
    assert (len(rows), columns) == (4, 2)
    assert [(row[0].overrides["net"], row[0].overrides["l2"]) for row in rows if row[0]] == [
        ("a", 0.1), ("a", 0.2), ("b", 0.1), ("b", 0.2)]  # fmt: skip


def test_a_key_that_some_runs_do_not_have_is_a_column_of_its_own() -> None:
    runs = [run(experiment="a", l2=0.1), run(experiment="a", l2=0.2), run(experiment="b")]
    rows, columns = figure.lines(runs, axes_of(runs))
    assert columns == 3
    assert rows == [[runs[0], runs[1], None], [None, None, runs[2]]]


@pytest.mark.parametrize(
    ("panels", "items", "shown", "size"),
    [
        (["map"], ["a"], 1, (8, 8)),
        (["map", "photo"], ["a", "b", "c", "d", "e"], 4, (17, 17)),
        (["paper/map", "clearer/map"], ["a", "b", "c"], 4, (17, 17)),
        (["p1", "p2", "p3", "p4", "p5"], ["a", "b"], 4, (17, 17)),
    ],
)
def test_a_cell_shows_four_panels_at_most_and_no_photos(
    panels: list[str], items: list[str], shown: int, size: tuple[int, int], tmp_path: Path
) -> None:
    folder = result(tmp_path, panels, items)
    paths = figure.chosen(folder)
    assert len(paths) == shown
    assert all(path.is_file() and "photo" not in path.parts for path in paths)
    picture = figure.mosaic(folder)
    assert picture is not None
    assert picture.size == size


def test_a_cell_shows_the_panels_own_pixels(tmp_path: Path) -> None:
    picture = figure.mosaic(result(tmp_path, ["a", "b"], ["x"]))
    assert picture is not None
    pixels = np.asarray(picture)
    assert (pixels[:, :8] == 40).all()
    assert (pixels[:, 8] == 255).all()
    assert (pixels[:, 9:] == 80).all()


def test_a_result_without_panels_shows_its_figure_or_says_so(tmp_path: Path) -> None:
    folder = result(tmp_path, [], ["a"])
    assert figure.mosaic(folder) is None
    Image.new("RGB", (30, 20)).save(folder / "figure.png")
    picture = figure.mosaic(folder)
    assert picture is not None
    assert picture.size == (30, 20)


def test_done_failed_and_missing_runs_all_have_their_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result(tmp_path / "good", ["map"], ["a"])
    drawn: list[Figure] = []
    monkeypatch.setattr(figure.figures, "save", lambda whole, path, **_: drawn.append(whole))
    runs = [run(folder="good", seed=0), run(status="failed", seed=1), run(status="missing", seed=2)]
    figure.save_grid(runs, axes_of(runs), tmp_path, "a $name$", tmp_path / "figure.png")
    cells = drawn[0].axes
    assert [cell.get_title() for cell in cells] == ["seed=0", "seed=1", "seed=2"]
    assert [len(cell.images) for cell in cells] == [1, 0, 0]
    assert [cell.texts[0].get_text() for cell in cells[1:]] == ["failed: why", "missing: why"]


# ---- the metrics ----


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([1, 2, 3], "linear"),
        ([1e-4, 1e-2], "log"),
        ([1e-4, 1e-3], "linear"),
        ([0, 1e-4, 1e-2], "symlog"),
        ([-1, 100], "symlog"),
        ([0], "linear"),
    ],
)
def test_values_that_span_two_powers_of_ten_are_drawn_on_a_logarithmic_axis(values: list[float], name: str) -> None:
    assert figure.scale(values)[0] == name


def test_one_line_a_combination_of_the_other_axes() -> None:
    runs = [run({"score": l2 + seed}, l2=l2, seed=seed) for seed in (0, 1) for l2 in (0.5, 0.25)]
    assert figure.by_others(runs, "score", "l2", axes_of(runs)) == {
        "seed=0": {"0.5": [0.5], "0.25": [0.25]},
        "seed=1": {"0.5": [1.5], "0.25": [1.25]},
    }
    assert figure.by_others(runs, "score", "l2", {"l2": [0.5, 0.25]}) == {"": {"0.5": [0.5, 1.5], "0.25": [0.25, 1.25]}}


def test_seeds_are_averaged_with_their_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two values of l2 with three seeds each: two points and two bars, and no axis of seeds."""
    places: list[Any] = []
    draw = figure.draw_metric
    monkeypatch.setattr(figure, "draw_metric", lambda place, *told: (places.append(place), draw(place, *told)))
    runs = [run({"score": l2 + seed}, l2=l2, seed=seed) for seed in (0, 1, 2) for l2 in (1, 2)]
    figure.save_metrics(runs, axes_of(runs), "name", tmp_path / "metrics.png")
    (place,) = places
    (line,) = place.lines
    assert line.get_xydata().tolist() == [[1, 2], [2, 3]]
    low, high = place.collections[0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert len(place.collections) == 2


def drawn_metric(runs: list[Run], axis: str) -> Any:
    place = Figure().subplots()
    figure.draw_metric(place, runs, "score", axis, axes_of(runs))
    return place


def test_numbers_are_joined_in_their_order_whatever_the_order_of_the_runs() -> None:
    place = drawn_metric([run({"score": value}, l2=value) for value in (3, 1, 2)], "l2")
    assert place.lines[0].get_xydata().tolist() == [[1, 1], [2, 2], [3, 3]]
    assert place.lines[0].get_linestyle() == "-"


def test_words_have_a_dot_each() -> None:
    place = drawn_metric([run({"score": len(name)}, network=name) for name in ("tiny", "large")], "network")
    assert place.lines[0].get_linestyle() == "None"
    assert [label.get_text() for label in place.get_xticklabels()] == ["tiny", "large"]


def test_true_is_a_word_not_a_number() -> None:
    assert not figure.is_number(True)
    assert not figure.is_number("1")
    assert figure.is_number(1)


def test_failed_runs_have_no_point_and_nothing_is_drawn_without_axes(tmp_path: Path) -> None:
    runs = [run({"score": 1.0}, seed=0), run(status="failed", seed=1)]
    figure.save_metrics(runs, axes_of(runs), "name", tmp_path / "metrics.png")
    assert (tmp_path / "metrics.png").stat().st_size > 1000
    for lonely in ([run({"score": 1.0}, seed=0)], [run(seed=0), run(seed=1)]):
        figure.save_metrics(lonely, axes_of(lonely), "name", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
