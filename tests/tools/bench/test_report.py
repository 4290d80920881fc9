"""What stands on the screen, in the JSON, in the table of docs/benchmarks.md and in the picture."""

import io
import json
from pathlib import Path

import pytest
from bench import floors, growth, report
from bench.task import OURS
from PIL import Image
from rich.console import Console

MACHINE = {"processor": "Abacus 3", "cores": 2, "flags": ["avx2"], "threads": 2, "torch": "2.13.0"}


def way(ratio: float = 1.5, **more: object) -> dict:
    spread = {"low": ratio - 0.1, "median": ratio, "high": ratio + 0.25}
    share = {"low": 0.4, "median": 0.5, "high": 0.6}
    seconds = {"low": 0.011, "median": 0.0123, "high": 0.014}
    known = {"why": "", "agrees": True, "difference": 1e-6, "seconds": seconds, "ratio": spread}
    return known | {"share_of_product": share} | more


def record() -> dict:
    off = {"why": "", "agrees": False, "difference": 0.25}
    ways = {OURS: way(1.0), "captum": way(1.5), "zennit": off}
    work = {"title": "tiny: saliency", "unit": "photo", "rounds": 7, "note": "a note", "ways": ways}
    return {"machine": MACHINE, "workloads": {"tiny_saliency": work}}


def test_the_readmes_table_names_the_machine_and_what_was_not_counted() -> None:
    lines = report.markdown(record()).splitlines()
    assert lines[2] == "| tiny: saliency | captum | 1.50 × [1.40–1.75] as fast |  | 12.30 ms per photo | 50% |"
    assert "not counted: differ by 2e-01" in lines[3] or "not counted: differ by 3e-01" in lines[3]
    assert any("Abacus 3, 2 cores (avx2), 2 threads, torch 2.13.0" in line for line in lines)
    assert lines[-1] == "- tiny: saliency: a note"


def test_a_part_of_the_work_is_told_as_a_share_and_stands_beside_nothing() -> None:
    known = record()
    known["workloads"]["tiny_saliency"]["ways"]["start-up"] = way(0.14, why="one photo", part=True, difference=None)
    lines = report.markdown(known).splitlines()
    assert lines[-1] == "- tiny: saliency: start-up (one photo) is 14% [4%–39%] of it"
    assert not any("start-up" in line for line in lines[:-1])
    assert list(report.others(known["workloads"]["tiny_saliency"])) == ["captum"]


def test_each_precision_has_its_own_row_and_each_memory_format_its_own_column() -> None:
    known = record()
    ours = way(0.5, exact=False, gain={"low": 1.9, "median": 2.0, "high": 2.1}, rank_correlation=0.98)
    ours["seconds"] = {"low": 0.005, "median": 0.006, "high": 0.007}
    half = way(1.2, beside="deepinside bf16", rank_correlation=0.97)
    last = way(1.1, layout_of="captum bf16", beside="deepinside bf16", rank_correlation=0.96)
    work = known["workloads"]["tiny_saliency"]
    work["ways"] = {OURS: way(1.0), "deepinside bf16": ours, "captum bf16": half, "captum bf16, channels-last": last}
    lines = report.markdown(known).splitlines()
    title, times = "tiny: saliency", "1.20 × [1.10–1.45] as fast | 1.10 × [1.00–1.35] as fast"
    assert lines[2] == f"| {title} | captum bf16 | {times} | 6.00 ms per photo | 50% |"
    assert lines[3] == ""
    said = "deepinside bf16 is 2.00 × [1.90–2.10] as fast as deepinside; rank correlation with float64 0.980"
    assert lines[-1] == f"- {title}: {said} (others in bf16: 0.960 to 0.970)"
    assert list(report.others(work)) == ["captum bf16"]


def test_the_table_goes_between_a_pages_marks(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    for text in ("first\n", "second\n"):
        report.insert(text, page)
    assert page.read_text() == "before\n<!-- bench -->\nsecond\n<!-- /bench -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="expected <!-- bench -->"):
        report.insert("", page)


def test_the_screen_shows_the_same() -> None:
    written = io.StringIO()
    report.show("tiny_saliency", record()["workloads"]["tiny_saliency"], Console(file=written, width=140))
    assert "1.50 × [1.40–1.75]" in written.getvalue() and "not counted" in written.getvalue()


def test_a_later_run_on_the_same_machine_adds_to_the_json(tmp_path: Path) -> None:
    report.save(record(), tmp_path)
    other = record()
    other["workloads"] = {"other": other["workloads"]["tiny_saliency"]}
    report.save(other, tmp_path)
    assert list(report.load(tmp_path)["workloads"]) == ["tiny_saliency", "other"]
    elsewhere = other | {"machine": MACHINE | {"processor": "Abacus 4"}}
    report.save(elsewhere, tmp_path)
    assert list(json.loads((tmp_path / "bench.json").read_text())["workloads"]) == ["other"]


def test_the_pictures_are_drawn(tmp_path: Path) -> None:
    report.draw(record(), tmp_path / "bench.png")
    grown = {"title": "t", "unit": "photo", "counts": [1, 2, 16], "seconds": [1, 2, 16], "memory_mib": [9, 9, 9]}
    growth.draw({"photos": grown}, tmp_path / "growth.png")
    for name in ("bench.png", "growth.png"):
        with Image.open(tmp_path / name) as image:
            assert image.width > 600 and len(image.convert("RGB").getcolors(1 << 24)) > 10


def test_growth_is_told_in_words() -> None:
    straight = {"unit": "step", "counts": [1, 2, 16], "seconds": [3.0, 4.0, 18.0], "memory_mib": [100, 105, 110]}
    first, second = growth.findings(straight)
    assert first.startswith("2.0 s and 1000.00 ms a step: off that line by 0.0%")
    assert second == "memory at 16 is 1.10 times that at 1 (110 MiB)"


@pytest.mark.parametrize(("floor", "count"), [(1.4, 0), (1.6, 1)])
def test_a_ratio_below_its_floor_is_named(floor: float, count: int) -> None:
    work = record()["workloads"]["tiny_saliency"]
    found = floors.broken("tiny_saliency", work, {"captum": floor, "not installed": 9})
    assert len(found) == count
    assert all("1.50 times as long, expected 1.6" in sentence for sentence in found)


def test_numbers_that_differ_break_every_floor() -> None:
    work = record()["workloads"]["tiny_saliency"]
    assert floors.broken("tiny_saliency", work, {"zennit": 0.1}) == [
        "tiny_saliency: zennit's numbers differ by 2.5e-01"
    ]
