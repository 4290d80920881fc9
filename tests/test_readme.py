"""The README as a newcomer uses it: every command as pasted, small, in an empty folder; its figure; `make help`."""

import re
import subprocess
from pathlib import Path

import pages
import pytest
import results_tables

from deepinside.config.paths import ROOT

README = ROOT / "README.md"


@pytest.mark.parametrize("block", pages.blocks("bash", [README]), ids=str)
def test_the_commands_work_as_pasted(block: pages.Block, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages.furnish(bench)
    for words in pages.commands(block):
        assert pages.run(words, monkeypatch) == 0, words


def test_the_python_runs(bench: Path) -> None:
    pages.furnish(bench)
    names: dict[str, object] = {}
    found = pages.blocks("python", [README])
    for block in found:
        pages.execute(block, names)
    assert found


def test_the_figure_is_there_and_the_page_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (ROOT / path).is_file(), path
    by_hand = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
    assert len(by_hand.splitlines()) < 130


def test_the_claims_table_is_that_of_the_committed_results() -> None:
    assert results_tables.outdated() == [], "run `make docs`"


def test_the_benchmarks_have_a_place() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert re.search(r"<!-- bench -->.*<!-- /bench -->", text, re.DOTALL)


def test_every_target_of_make_help_can_be_made() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = re.findall(r"^  make ([\w-]+)", told, re.MULTILINE)
    assert {"reproduce", "verify", "models", "test", "test-all", "lint", "docs", "clean"} <= set(targets)
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
