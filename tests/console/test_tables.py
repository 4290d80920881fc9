"""What stands on the screen when a run is over."""

from pathlib import Path
from typing import Any

import pytest
from disk import CLAIM

from deepinside.console import tables

CLAIMS = [
    {**CLAIM, "claim": "it falls"},
    {**CLAIM, "claim": "it differs", "estimate": 0.5, "interval": [0.2, 0.9], "verdict": "fails"},
    {**CLAIM, "claim": "it is near", "interval": None, "n": 1, "verdict": "inconclusive"},
]
FOUND: dict[str, Any] = {
    "experiment": "fig2_saliency",
    "network": "net",
    "seconds": 3.14159,
    "count": 1,
    "metrics": {"score": 1.23456, "ten/score": 2.0},
    "claims": CLAIMS,
    "skipped": [{"name": "[bold]odd:cat:[/bold].jpg", "reason": "not an image"}],
    "predictions": {"cat": {"image": "cat", "sentence": "cat → tabby 40 % ✓"}},
    "right": {"of": 1, "right": 1},
}


def said(found: dict[str, Any], capsys: pytest.CaptureFixture[str], *how: str) -> list[str]:
    tables.print_run(Path("results/a[b]/default"), found, *how)
    return capsys.readouterr().out.splitlines()


def seen(count: int) -> dict[str, Any]:
    captions = {f"p{i}": {"image": f"p{i}", "sentence": f"p{i} → cat"} for i in range(count)}
    return {**FOUND, "count": count, "predictions": captions, "claims": [], "skipped": []}


def test_a_run_says_what_it_found_in_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(FOUND, capsys) == [
        "fig2_saliency · net · 1 image · 3.1 s",
        "  cat → tabby 40 % ✓",
        "  ✓ holds: it falls (2.5 [2.25, 2.75], 9 photos, expected ≥ 1.5)",
        "  ✗ fails: it differs (0.5 [0.2, 0.9], 9 photos, expected ≥ 1.5)",
        "  ? inconclusive: it is near (2.5, 1 photo, expected ≥ 1.5)",
        "  skipped [bold]odd:cat:[/bold].jpg: not an image",
        "result: results/a[b]/default",
    ]


def test_numbers_are_for_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(FOUND, capsys, "verbose")[-2:] == ["  score 1.235", "  ten/score 2"]
    assert said(FOUND, capsys, "quiet") == []


def test_the_figure_is_named_where_there_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "figure.png").touch()
    tables.print_run(tmp_path, FOUND)
    assert capsys.readouterr().out.splitlines()[-1] == f"figure: {tmp_path / 'figure.png'}"


@pytest.mark.parametrize(
    ("count", "right", "last"),
    [
        (5, {"of": 5, "right": 2}, "  p4 → cat"),
        (6, {"of": 0, "right": 0}, "  … and 2 more"),
        (6, {"of": 6, "right": 2}, "  … 2 of 6 with a known class are right"),
    ],
)
def test_five_lines_on_images_at_most(
    count: int, right: dict[str, int], last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said({**seen(count), "right": right}, capsys)
    assert lines[0] == f"fig2_saliency · net · {count} images · 3.1 s"
    assert (len(lines), lines[5]) == (7, last)


def test_items_of_one_image_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    same = {name: {"image": "cat", "sentence": "cat → tabby 40 %"} for name in ("cat_conv1", "cat_conv2")}
    lines = said({**seen(0), "count": 2, "predictions": same}, capsys)
    assert lines[:2] == ["fig2_saliency · net · 1 image · 3.1 s", "  cat → tabby 40 %"]
    assert len(lines) == 3


def test_a_run_of_a_sweep_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = said(FOUND, capsys, "normal", "[7/21] fig2_saliency")
    assert line == "[7/21] fig2_saliency ✓ 3.1 s, 1 claim fails, 1 unreadable: [bold]odd:cat:[/bold].jpg"
    (line,) = said({**seen(1), "skipped_as_done": True}, capsys, "normal", "[7/21] fig2_saliency")
    assert line == "[7/21] fig2_saliency ✓ already done"


def test_a_result_of_an_earlier_version_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    old = {name: FOUND[name] for name in ("experiment", "network", "seconds", "metrics")}
    lines = said({**old, "claims": [], "skipped": [], "count": 3}, capsys)
    assert lines[0] == "fig2_saliency · net · 3 items · 3.1 s"


def test_the_tally_names_what_fails() -> None:
    verdicts = [("a", "holds"), ("b", "holds"), ("c", "fails"), ("d", "not measured"), ("e", "inconclusive")]
    assert tables.tally(verdicts) == "2 of 4 hold; 1 inconclusive; 1 not measured; 1 fails: c"
    assert tables.tally(verdicts[:2]) == "2 of 2 hold"
    assert tables.tally([("c", "fails"), ("e", "fails")]) == "0 of 2 hold; 2 fail: c; e"
