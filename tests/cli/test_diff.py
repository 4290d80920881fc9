"""`deepinside-results diff`: tables, Markdown, the page, exit codes."""

import sys
from pathlib import Path

import pyarrow
import pytest
from disk import put_run
from pyarrow import parquet

from deepinside.cli import results as results_command


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    found = []
    for seed in (0, 1):
        place = put_run(tmp_path, f"fig2/net/seed={seed}", settings={"seed": seed, "pipe": f"a|{seed}"})
        parquet.write_table(
            pyarrow.table({"name": ["cat", "cup"], "score": [1.0, float(seed)]}), place / "items.parquet"
        )
        found.append(str(place))
    return found


def code(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr(sys, "argv", ["deepinside-results", "diff", *words])
    with pytest.raises(SystemExit) as end:
        results_command.main()
    return end.value.code


def test_only_what_differs_is_printed(
    folders: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code(monkeypatch, *folders) == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["seed", "0", "1", "+1"] in lines
    assert ["cup:", "score", "0", "1", "+1"] in lines
    assert not any(line[:1] == ["cat:"] for line in lines)
    assert "Equal: configuration that changes no number, provenance, claims, metrics, deviations and notes" in said


def test_markdown_and_the_limit(
    folders: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code(monkeypatch, *folders, "--markdown", "--limit", "1") == 0
    said = capsys.readouterr().out
    assert "**Configuration**\n\n|  | A | B | B − A |\n| --- | --- | --- | --- |\n| pipe | a\\|0 | a\\|1 |  |\n" in said
    assert "… and 1 more; --limit 0 shows all" in said
    assert code(monkeypatch, *folders, folders[0], "--markdown", "--limit", "0") == 0
    assert "| pipe | a\\|0 | a\\|1 | a\\|0 |" in capsys.readouterr().out


def test_the_page_is_written(folders: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert code(monkeypatch, *folders, "--html", str(tmp_path / "new" / "page.html")) == 0
    assert "What differs" in (tmp_path / "new" / "page.html").read_text(encoding="utf-8")


def test_errors_are_one_sentence(folders: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        code(monkeypatch, folders[0]) == "deepinside-results: diff: expected two or more folders of results, found one."
    )
    assert str(code(monkeypatch, folders[0], "nosuch")).endswith("nosuch: expected the folder of a result, found none.")
