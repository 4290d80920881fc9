"""The committed table of architectures is what its command gives."""

from pathlib import Path

import network_coverage
import pytest

from deepinside.config.paths import ROOT

CELLS = network_coverage.read()


def test_the_page_is_made_of_the_committed_cells() -> None:
    assert (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8") == network_coverage.page(CELLS)


def test_every_measured_cell_agrees_or_says_why_not() -> None:
    assert CELLS
    assert all(network_coverage.agrees(cell) or cell.get("reason") for cell in CELLS.values())
    good = sum(map(network_coverage.agrees, CELLS.values()))
    assert good >= 0.95 * len(CELLS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporters' own
@pytest.mark.parametrize("key", ["torchvision resnet18 default", "timm ghostnet_100 older"])
def test_a_committed_cell_is_measured_again(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPINSIDE_CACHE", str(tmp_path))
    source, name, exporter = key.split(" ")
    cell = network_coverage.measured(source, name, exporter, tmp_path)
    assert network_coverage.agrees(cell)
    assert {name: cell[name] for name in ("size", "layers")} == {name: CELLS[key][name] for name in ("size", "layers")}
