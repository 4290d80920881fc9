import json
import re
import shutil
import time
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from disk import HOSTILE, STORY, put_everything, put_run, put_told

from deepinside.config.paths import PACKAGE
from deepinside.errors import DeepInsideError
from deepinside.html_report import refresh, write_report
from deepinside.html_report.files import address
from deepinside.html_report.layout import report_version
from deepinside.html_report.write import titles
from deepinside.results.items import ItemRow, ItemTable

ASSETS = PACKAGE / "html_report" / "assets"


class Links(HTMLParser):
    """Every address on a page, and every element's name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src", "data-src", "data-page") and value]
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs), f"{tag} {attrs}"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ü results #1")
    put_everything(root)
    put_told(root)
    assert write_report(root) == root / "index.html"
    return root


def pages(root: Path) -> list[Path]:
    return [root / "index.html", *sorted(root.glob("report/**/*.html"))]


def page(root: Path, pattern: str) -> str:
    (path,) = root.glob(f"report/{pattern}.html")
    return path.read_text(encoding="utf-8")


def test_every_link_leads_to_something_in_the_folder(written: Path) -> None:
    for path in pages(written):
        for link in Links(path.read_text(encoding="utf-8")).links:
            target = unquote(link.partition("#")[0])
            if target and not target.startswith(("data:", "https://")):
                place = (path.parent / target).resolve()
                assert place.exists() and place.is_relative_to(written.resolve()), f"{path.name}: {link}"


def test_no_page_asks_anybody_else(written: Path) -> None:
    for path in [*pages(written), *written.glob("report/data/*.js")]:
        text = path.read_text(encoding="utf-8").replace('<a href="https://arxiv.org/', "")  # a link loads nothing
        assert not re.search(r"(?:src|href|url|import)\W{1,3}(?:https?:)?//", text)
    assert "default-src 'none'" in (written / "index.html").read_text()


def test_hostile_names_are_text(written: Path) -> None:
    for path in pages(written):
        text = path.read_text(encoding="utf-8")
        assert "<b>not</b>" not in text and "<i>" not in text and "<script>alert" not in text
        Links(text)
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;") in (written / "index.html").read_text()
    assert not any(set("<>") & set(path.read_text()) for path in written.glob("report/data/*.js"))


def test_the_overview_shows_papers_claims_departures_and_what_went_wrong(written: Path) -> None:
    text = (written / "index.html").read_text(encoding="utf-8")
    for words in ("Simonyan et al. 2013", "it is near", "≥ 1.5", "one crop, not ten", "seed=4.part", "Failed", "decay"):
        assert words in text
    assert text.index("Failed and incomplete runs") < text.index('class="card"')


def test_an_experiments_page_tells_its_story_and_why_its_claims_have_their_verdicts(written: Path) -> None:
    text = page(written, "experiments/fig2")
    assert all(words in text for words in STORY.values())
    assert "Measured: 2.5 [2.25, 2.75], 9 photos; expected ≥ 1.5." in text and "Threshold: between 1 and 2" in text


def test_a_runs_page_shows_how_to_repeat_it_and_where_it_comes_from(written: Path) -> None:
    text = page(written, "runs/fig2--net--technique.l2=0.01-*")
    for words in ("--repeat", "technique.l2=0.01", "abc123", "with uncommitted changes", "score", "config.yaml"):
        assert words in text


TEN_ANSWERS = {
    "What does it ask?": STORY["question"],
    "Which network?": "net",
    "Which class, and was it right?": "cat → golden retriever 32 %, labelled tabby",
    "What does the paper show?": STORY["paper"],
    "Which figure is it?": "Simonyan et al. 2013, Fig. 2",
    "What came out here?": STORY["ours"],
    "Why do they differ?": STORY["difference"],
    "Did the claim hold?": "Measured: 2.5 [2.25, 2.75], 9 photos; expected ≥ 1.5.",
    "How is it repeated?": "deepinside --repeat",
    "Which code and seed?": "abc123",
}


@pytest.mark.parametrize("question", TEN_ANSWERS)
def test_the_page_of_a_run_answers(written: Path, question: str) -> None:
    assert TEN_ANSWERS[question] in page(written, "runs/told--*")


def test_links_to_a_paper_are_https_only(written: Path) -> None:
    told = {"question": "Why?", "link": "javascript:alert(1)"}
    place = put_run(written, "told/net/seed=9", settings={"story": told})
    write_report(written)
    assert "javascript:" not in page(written, "runs/told--net--seed=9*").partition("Full configuration")[0]
    assert '<a href="https://arxiv.org/abs/1312.6034"' in page(written, "experiments/told")
    shutil.rmtree(place)
    write_report(written)


def test_a_published_page_has_a_preview_with_a_complete_address(tmp_path: Path) -> None:
    put_told(tmp_path)
    image = r'property="og:image" content="https://example.org/lab/([^"]+\.(?:png|jpg))"'
    write_report(tmp_path)
    assert "og:image" not in page(tmp_path, "runs/told--*")
    for url in ("https://example.org/lab/", None):  # and the address is remembered
        write_report(tmp_path, url)
        for text in ((tmp_path / "index.html").read_text(), page(tmp_path, "runs/told--*")):
            found = re.search(image, text)
            assert found and (tmp_path / unquote(found[1])).is_file()


def test_the_table_by_size_of_the_object_is_shown(written: Path) -> None:
    text = page(written, "runs/localisation--*")
    assert all(words in text for words in ("object 0–25 %", "2 items", "0.75", "0.5", "[0.25, 0.625]"))


def test_a_sweeps_page_shows_its_runs_along_the_axis(written: Path) -> None:
    text = page(written, "sweeps/*")
    assert all(words in text for words in ("1 of 3 runs are not done", "l2 &lt;b&gt;negative", "<polyline", "mosaic-"))


def test_class_models_of_all_networks_can_stand_side_by_side(written: Path) -> None:
    text = page(written, "class-models")
    assert {"net", "other"} == set(re.findall(r'data-network="(\w+)"', text))


def test_only_what_changed_is_written_again(written: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*") if path.is_file()}
    write_report(written)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    put_run(written, "fig3/net/default")
    write_report(written)
    changed = {path.name for path, when in before.items() if path.exists() and path.stat().st_mtime_ns != when}
    assert changed == {"index.html", "runs.html", "class-models.html", "state.json"}


def test_what_is_gone_leaves_the_report(tmp_path: Path) -> None:
    for folder in ("a/n/default", "a/n/seed=1"):
        put_run(tmp_path, folder)
    write_report(tmp_path)
    shutil.rmtree(tmp_path / "a/n/seed=1")
    write_report(tmp_path)
    left = [path.name for path in tmp_path.glob("report/*/*") if "seed=1" in path.name]
    assert left == [] and "seed=1" not in page(tmp_path, "runs")


def test_a_page_that_somebody_removed_comes_back(tmp_path: Path) -> None:
    put_run(tmp_path)
    write_report(tmp_path)
    (path,) = tmp_path.glob("report/runs/*.html")
    path.unlink()
    write_report(tmp_path)
    assert path.is_file()


def test_another_version_writes_everything_anew(tmp_path: Path) -> None:
    put_run(tmp_path)
    write_report(tmp_path)
    state = tmp_path / "report" / "state.json"
    state.write_text(state.read_text().replace(report_version(), "other"))
    (path,) = tmp_path.glob("report/runs/*.html")
    path.write_text("old")
    write_report(tmp_path)
    assert path.read_text() != "old"
    state.write_text(json.dumps({"form": report_version(), "runs": {"a": {"changes": 3}}, "pages": {}}))
    assert write_report(tmp_path).is_file()


def test_titles_are_taken_from_the_table_of_items(tmp_path: Path) -> None:
    place = put_run(tmp_path)
    rows = [ItemRow("cat", "Egyptian <cat>", {"score": 1.0}), ItemRow("cup", "", {"score": 2.0})]
    table = ItemTable()
    table.add(rows)
    table.write(place / "items.parquet")
    write_report(tmp_path)
    text = page(tmp_path, "runs/*")
    assert "Egyptian &lt;cat&gt;" in text and "cup" in text
    (place / "items.parquet").write_bytes(b"no")
    assert titles(place) == {}


def test_no_results_make_an_empty_report(tmp_path: Path) -> None:
    assert "no results here yet" in write_report(tmp_path / "new").read_text()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(DeepInsideError, match=r"report: .*could not be written"):
        write_report(tmp_path)


def test_a_run_more_among_a_hundred_takes_a_moment(tmp_path: Path) -> None:
    place = put_run(tmp_path)
    for seed in range(1, 100):
        shutil.copytree(place, tmp_path / f"fig2/net/seed={seed}")
    write_report(tmp_path)
    taken = []
    for number in range(3):  # the best of three: other work on the machine costs time, too
        put_run(tmp_path, f"fig1/net{number}/default", items=[f"i{n}" for n in range(12)])
        started = time.process_time()
        write_report(tmp_path)
        taken.append(time.process_time() - started)
    assert min(taken) < 0.3


def test_the_report_works_from_an_archive(written: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "sent"), "zip", written)
    with zipfile.ZipFile(archive) as sent:
        sent.extractall(tmp_path / "elsewhere")
    test_every_link_leads_to_something_in_the_folder(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("path", "page", "link"),
    [
        ("a/b.png", "index.html", "a/b.png"),
        ("a/b #1 100%.png", "report/runs/x.html", "../../a/b%20%231%20100%25.png"),
        ("ü:?", "report/x.html", "../%C3%BC%3A%3F"),
        ("bytes\udcff", "index.html", "bytes%FF"),
    ],
)
def test_addresses_are_quoted(path: str, page: str, link: str) -> None:
    assert address(path, page) == link


def test_what_is_packed_is_small_and_named() -> None:
    named = (ASSETS / "THIRD_PARTY.md").read_text()
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 1_000_000
    assert all(f"`{path.name}`" in named for path in ASSETS.iterdir() if path.suffix in (".js", ".css"))


def test_a_report_that_cannot_be_written_is_said_and_fails_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report").write_text("a file where the report's folder should be")
    refresh(tmp_path)
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith("deepinside: report: ")
