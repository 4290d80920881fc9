"""The pages: their commands, Python and YAML work, their links lead somewhere, and nothing is out of date."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pages
import pytest
import reference_docs
import yaml

from deepinside.config.paths import ROOT

pytestmark = pytest.mark.timeout(900)  # a page of sweeps on a machine with other work to do
DOCS = [page for page in pages.PAGES if page.name != "README.md"]
NAMES = [page.name for page in DOCS]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
CITED = {
    "cff-version",
    "message",
    "title",
    "authors",
    "type",
    "abstract",
    "version",
    "license",
    "keywords",
    "references",
}
OWN_TEST = "adding_a_technique.md"
FREE = ("library.md", "networks.md")
"""Pages that `make test` runs; `make test-all` runs the others too."""


def page_of(name: str) -> Path:
    return next(page for page in pages.PAGES if page.name == name)


def pages_with_code() -> list[object]:
    """Every page with commands or Python, slow but for those in `FREE`."""
    kinds = (*pages.SHELL, "python")
    coded = {block.page for kind in kinds for block in pages.blocks(kind, DOCS) if block.file is None}
    found = [name for name in NAMES if name in coded - {OWN_TEST}]
    return [pytest.param(name, marks=() if name in FREE else pytest.mark.slow) for name in found]


@pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning")  # PyTorch's exporter warns of itself
@pytest.mark.parametrize("name", pages_with_code())
def test_a_page_works_from_top_to_bottom(name: str, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page in the order in which they are printed, in one folder; files it shows are written first."""
    pages.furnish(bench)
    names: dict[str, object] = {}
    for block in pages.all_blocks(page_of(name)):
        if block.language in pages.SHELL:
            for words in pages.commands(block):
                assert pages.run(words, monkeypatch) == 0, words
        elif block.file is None and block.language == "python":
            pages.execute(block, names)
        elif block.language == "yaml" and not str(block.file).startswith(("configs/", "None")):
            pages.compose_block(block)


def test_no_block_hides_commands_from_the_tests() -> None:
    """Blocks of other languages hold no commands."""
    programs = {*pages.PROGRAMS, *pages.CHECKED, "make"}
    for page in pages.PAGES:
        for block in pages.all_blocks(page):
            if block.language not in (*pages.SHELL, "python", "yaml"):
                first = {line.split()[0] for line in block.text.splitlines() if line.strip()}
                assert not first & programs, block


@pytest.mark.parametrize("block", [block for block in pages.blocks("yaml", DOCS) if block.file], ids=str)
def test_the_yamls_are_what_they_say(block: pages.Block, bench: Path) -> None:
    pages.furnish(bench)
    if not str(block.file).startswith("configs/"):  # those of a technique of one's own: below
        pages.compose_block(block)


@pytest.mark.slow
def test_a_technique_is_added_as_the_page_says(tmp_path: Path) -> None:
    """Its three files, put into a copy of the project: it runs, its oracle agrees, it stands in the reference."""
    for part in ("src", "configs", "conf_models", "experiments", "tests", "tools"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("pictures"))
    page = [page_of(OWN_TEST)]
    written = [block for language in ("python", "yaml") for block in pages.blocks(language, page) if block.file]
    assert len(written) == 3
    for block in written:
        (tmp_path / str(block.file)).write_text(block.text, encoding="utf-8")

    def done(*words: str) -> str:
        place = {
            **os.environ,
            "PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{tmp_path / 'tests'}",
            "OMP_NUM_THREADS": "1",
        }
        ended = subprocess.run([sys.executable, *words], cwd=tmp_path, env=place, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    start = "from deepinside.cli.run import main; main()"
    pages.furnish(tmp_path)
    for words in (words for block in pages.blocks("bash", page) for words in pages.commands(block)):
        starts = {"deepinside": ("-c", start), "pytest": ("-m", "pytest", "-p", "no:cacheprovider")}
        done(*starts[words[0]], *words[1:], *(["runtime.threads=1"] if words[0] == "deepinside" else []))
    words = ("technique=lime", "images.names=[chelsea]", "runtime.threads=1", "runtime.overwrite=true")
    assert "largest_weight" in done("-c", start, *words, "--verbose")
    assert len(list(tmp_path.glob("results/*/*/*/panels/weights/chelsea.png"))) == 4  # the page's three runs, and this
    done("-m", "pytest", "tests/test_import_direction.py", "-p", "no:cacheprovider")
    done("tools/reference_docs.py")
    assert "## technique=lime" in (tmp_path / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_the_reference_is_current() -> None:
    assert reference_docs.PAGE.read_text(encoding="utf-8") == reference_docs.page(), "run `make docs`"


@pytest.mark.parametrize("name", [page.name for page in pages.PAGES])
def test_links_lead_somewhere(name: str) -> None:
    page = page_of(name)
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name}: {target}"
        assert there.is_relative_to(ROOT), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{name}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors GitHub gives a page's headings."""
    heads = re.findall(r"^#+ (.*)$", CODE.sub(lambda code: code[0].strip("`"), page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_can_be_reached_from_the_first() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert {page.name for page in (ROOT / "docs").glob("*.*")} - {"index.md"} <= set(LINK.findall(index))


def test_every_technique_has_a_page_with_its_picture_command_and_settings() -> None:
    named = {path.stem.removesuffix("_2016") for path in (ROOT / "configs" / "technique").glob("*.yaml")}
    for name in named:
        text = page_of(f"{name}.md").read_text(encoding="utf-8")
        assert f"](pictures/{name}.png)" in text
        assert f"](configuration.md#technique{name})" in text
        assert "```math\n" in text
        assert "```bash" in text
        assert f"di.{name}(" in text


def test_pictures_are_shown_and_small() -> None:
    docs = ROOT / "docs"
    pictures = [path for path in (docs / "pictures").rglob("*") if path.is_file()]
    text = "".join(page.read_text(encoding="utf-8") for page in pages.PAGES)
    assert all(f"{path.relative_to(docs).as_posix()})" in text for path in pictures)
    assert all(path.stat().st_size <= 60_000 for path in pictures if path.parent.name == "real")
    assert sum(path.stat().st_size for path in pictures) < 2_200_000


def test_the_tests_that_are_named_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")))
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    known = {name for text in files for name in re.findall(r"^def (test_\w+)", text, re.M)}
    assert named
    assert named <= known


def test_every_metric_of_the_reference_is_in_the_glossary() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    defined = set(re.findall(r"^\| `([^`]+)` \|", text, re.M))
    for path in (ROOT / "results" / "reference").glob("*.json"):
        for name in json.loads(path.read_text(encoding="utf-8"))["metrics"]:
            last = name.rpartition("/")[2]
            assert ("rank_correlation/A~B" if "~" in last else last) in defined, f"{path.stem}: {name}"


def test_the_code_quoted_from_the_sources_is_theirs() -> None:
    """A block of `py`, unlike one of `python`, is not run: it quotes a function of the package, word for word."""
    quoted = [
        textwrap.dedent(text)
        for page in pages.PAGES
        for text in re.findall(r"^ *```py\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.DOTALL | re.M)
    ]
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert quoted
    assert all(text in sources for text in quoted)


def test_what_is_where_exists() -> None:
    text = (ROOT / "docs" / "where-is-what.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|`]+ \| `([^`]+)` \|$", text, re.M)
    assert len(rows) == 10
    for path in [*rows, *re.findall(r"^\| `([^`]+)/` \|", text, re.M)]:
        assert (ROOT / path).exists(), path


COVERAGE = re.compile(r"^\| ((?:Fig\.|Table|Sect\.) [^|]+) \| (\w+) \| ([^|]*)\| ([^|]*)\|$", re.M)


def test_coverage_of_the_papers_names_experiments_and_reasons() -> None:
    """Every row has a verdict; what is reproduced names experiments that exist, and what is not in full says why."""
    text = (ROOT / "docs" / "coverage_of_the_papers.md").read_text(encoding="utf-8")
    rows = COVERAGE.findall(text)
    assert len(rows) == sum(line.startswith(("| Fig.", "| Table", "| Sect.")) for line in text.splitlines()) == 23
    for what, coverage, experiments, reason in rows:
        found = re.findall(r"\[(\w+)\]\(\.\./experiments/\1\.yaml\)", experiments)
        assert coverage in ("reproduced", "partly", "not"), what
        assert bool(found) == (coverage != "not"), what
        assert reason.strip() or coverage == "reproduced", what
        assert all((ROOT / "experiments" / f"{name}.yaml").is_file() for name in found), what
    _, simonyan, mahendran = text.split("\n## ")
    assert [f"Fig. {n}" in simonyan for n in (1, 2, 3)] == [True] * 3
    assert all(
        f"| {name}," in mahendran for name in [f"Fig. {n}" for n in range(1, 12)] + ["Table 1", "Table 2", "Table 3"]
    )


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = re.findall(r": ([\w-]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted(page.name for page in (ROOT / "docs").glob("*.*"))


def test_the_timings_name_every_experiment() -> None:
    text = (ROOT / "docs" / "timings.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| \[(\w+)\]\(\.\./experiments/\1\.yaml\) \| \d+ \|$", text, re.M)
    assert sorted(named) == sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material")
    words = ["-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "site" / "search" / "search_index.js").is_file()  # search works from disk
    assert "<math" in (tmp_path / "site" / "saliency.html").read_text(encoding="utf-8")
    assert "data:image/png" in (tmp_path / "site" / "tour.html").read_text(encoding="utf-8")


def test_the_citation_is_whole_and_of_this_version() -> None:
    """The fields that the Citation File Format 1.2.0 requires, of the kinds it allows."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited) <= CITED
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    for reference in cited["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference)
        assert all({"family-names", "given-names"} == set(author) for author in reference["authors"])
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"[{project['version']}]" in log or f"to be {project['version']}" in log


def test_readme_and_citation_file_cite_the_same() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    entry = re.search(r"```bibtex\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert entry
    fields = dict(re.findall(r"(\w+)\s*= \{+([^{}]+)\}+", entry[1]))
    assert fields["title"] == cited["title"]
    assert (fields["version"], fields["license"]) == (cited["version"], cited["license"])
    assert fields["author"] == cited["authors"][0]["name"]
