"""The records for archives say what the citation and the package say."""

import json
import tomllib

import archive_metadata
import yaml

from deepinside.config.paths import ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_both_files_are_current() -> None:
    for path, text in archive_metadata.written().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: make docs"


def test_version_licence_authors_and_papers_are_the_citation_s() -> None:
    codemeta, zenodo = (json.loads(path.read_text()) for path in (archive_metadata.CODEMETA, archive_metadata.ZENODO))
    assert codemeta["version"] == zenodo["version"] == CITATION["version"] == PROJECT["version"]
    assert zenodo["license"] == CITATION["license"] == codemeta["license"].rpartition("/")[2]
    assert [one["name"] for one in codemeta["author"]] == [one["name"] for one in CITATION["authors"]]
    papers = [one["identifier"] for one in zenodo["related_identifiers"]]
    assert len(papers) == len(CITATION["references"])
    assert "arXiv:1312.6034" in papers
