import pytest

from deepinside.html_report.charts import HEIGHT, WIDTH, charts, grid, spread

AXES = {"a": [1, 2, 3], "b": ["x", "y"]}


def run(a: int, b: str, **metrics: float) -> dict[str, object]:
    return {"overrides": {"a": a, "b": b}, "metrics": metrics}


def test_the_longest_axis_runs_across_and_the_others_down() -> None:
    found = grid(AXES, [run(3, "y"), run(1, "x")])
    assert (found.axis, found.across) == ("a", ["1", "2", "3"])
    assert [label for label, _ in found.rows] == ["b=x", "b=y"]
    assert [[bool(cell) for cell in row] for _, row in found.rows] == [[True, False, False], [False, False, True]]


def test_a_sweep_without_axes_is_one_row() -> None:
    found = grid({}, [run(1, "x"), run(2, "x")])
    assert (found.across, len(found.rows[0][1])) == (["1", "2"], 2)


def test_a_chart_spans_its_numbers_and_leaves_gaps() -> None:
    found = charts(grid(AXES, [run(1, "x", score=10.0), run(3, "x", score=30.0), run(2, "y", score=float("nan"))]))
    (chart,) = found
    assert (chart.name, chart.low, chart.high) == ("score", 10.0, 30.0)
    (x0, y0), (x1, y1) = chart.lines[0].points
    assert x0 < x1 < WIDTH and HEIGHT > y0 > y1 > 0
    assert chart.lines[1].points == []


def test_equal_numbers_lie_in_the_middle() -> None:
    (chart,) = charts(grid({"a": [1, 2]}, [run(1, "", s=5.0), run(2, "", s=5.0)]))
    assert [y for _, y in chart.lines[0].points] == pytest.approx([HEIGHT / 2] * 2)


def test_one_value_makes_no_curve() -> None:
    assert charts(grid({"a": [1]}, [run(1, "x", score=1.0)])) == []


def test_numbers_stand_at_their_size_and_words_evenly() -> None:
    assert spread([1, 2, 5]) == [0.0, 0.25, 1.0]
    assert spread([0.01, 0.1, 1.0]) == pytest.approx([0.0, 0.5, 1.0])
    assert spread(["a", "b", "c"]) == [0.0, 0.5, 1.0]


def test_a_point_says_its_value() -> None:
    (chart,) = charts(grid({"a": [1, 2], "b": ["x"]}, [run(1, "x", s=5.0), run(2, "x", s=0.25)]))
    assert chart.lines[0].words == ["1: 5 (b=x)", "2: 0.25 (b=x)"]
