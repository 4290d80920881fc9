"""A result's figure is drawn again from what is saved, and nothing is computed."""

from pathlib import Path

import pytest
import yaml
from corridor import call, metrics, photo
from PIL import Image

from deepinside.cli import results as results_command
from deepinside.errors import DeepInsideError
from deepinside.experiment.schema import FigureSettings
from deepinside.figures.redraw import redraw
from deepinside.networks.network import Part

WORDS = ["images=none", "images.root=photos", "runtime.report=false"]


def result() -> Path:
    (folder,) = Path("results/adhoc/tinycaffenet").iterdir()
    return folder


@pytest.fixture
def run(bench: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A result, after which no pass through a network is possible."""
    for name in "ab":
        photo(bench / "photos" / f"{name}.png", 90 if name == "a" else 160)
    assert call(monkeypatch, *WORDS) == 0
    monkeypatch.setattr(Part, "forward", None)
    return result()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_settings_give_the_same_bytes(run: Path) -> None:
    before = content(run)
    settings = yaml.safe_load((run / "config.yaml").read_text())["figure"]
    redraw(run, FigureSettings(**{**settings, "magnitude_map": "viridis"}))
    changed = {name for name, data in content(run).items() if data != before[name]}
    assert changed == {"figure.png", "config.yaml", "panels/saliency/a.png", "panels/saliency/b.png"}
    redraw(run, FigureSettings(**settings))
    assert content(run) == before


def test_a_run_with_another_figure_is_the_same_result_drawn_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (run / "figure.png").read_bytes()
    words = ["figure.magnitude_map=viridis", "figure=pairs", "figure.formats=[png,pdf]", "figure.panels=[nowhere]"]
    assert call(monkeypatch, *WORDS, *words) == 0
    assert result() == run
    assert (run / "figure.pdf").is_file() and (run / "figure.png").read_bytes() != before
    assert [note for note in metrics(run)["notes"] if "nowhere" in note]
    assert call(monkeypatch, *WORDS) == 0
    assert (run / "figure.png").read_bytes() == before
    assert not [note for note in metrics(run)["notes"] if "nowhere" in note]


def test_what_has_not_been_saved_is_computed_again(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(bench / "photos" / "a.png")
    for words in ([], ["figure.magnitude_map=viridis"]):
        assert call(monkeypatch, *WORDS, "save=numbers", *words) == 0
    folder = result()
    assert yaml.safe_load((folder / "config.yaml").read_text())["figure"]["magnitude_map"] == "viridis"
    with pytest.raises(DeepInsideError, match=r"run it again with save=shown\.$"):
        redraw(folder, FigureSettings())


def test_the_command_draws_for_a_paper(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(run)
    words = [
        "figure",
        str(run),
        "--style",
        "paper",
        "--pdf",
        "--layout",
        "pairs",
        "--columns",
        "2",
        "--output",
        "paper",
    ]
    monkeypatch.setattr("sys.argv", ["deepinside-results", *words])
    with pytest.raises(SystemExit) as ended:
        results_command.main()
    assert ended.value.code == 0
    assert content(run) == before
    assert {path.name for path in Path("paper").iterdir()} == {"figure.png", "figure.pdf"}
    redraw(run, FigureSettings(style="paper", layout="pairs", columns=2, title=True), Path("titled"))
    with Image.open("paper/figure.png") as plain, Image.open("titled/figure.png") as titled:
        assert plain.height < titled.height, "the style paper has no title"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: expected the folder of a result, with its config.yaml, found none."),
        (["RUN", "--columns", "0"], "figure.columns: input should be greater than 0, found 0."),
        (["RUN", "--style", "x"], "figure.style: expected paper, screen or the path of a matplotlib style file"),
    ],
)
def test_what_cannot_be_drawn_is_said(run: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    monkeypatch.setattr(
        "sys.argv", ["deepinside-results", "figure", *(word.replace("RUN", str(run)) for word in words)]
    )
    with pytest.raises(SystemExit) as ended:
        results_command.main()
    assert said in str(ended.value.code)
