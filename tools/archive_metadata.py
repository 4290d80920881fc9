"""codemeta.json and .zenodo.json, made from CITATION.cff and pyproject.toml so that the three say the same.

python tools/archive_metadata.py    write both; `make docs` does, and a test checks that they are current
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CODEMETA, ZENODO = ROOT / "codemeta.json", ROOT / ".zenodo.json"
LICENCES = {"MIT": "https://spdx.org/licenses/MIT"}


def codemeta(citation: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, Any]:
    """CodeMeta 3.0: https://codemeta.github.io/terms/"""
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": project["name"],
        "description": citation["abstract"],
        "version": project["version"],
        "license": LICENCES[project["license"]],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {project['requires-python']}",
        "softwareRequirements": project["dependencies"],
        "keywords": citation["keywords"],
        "author": [{"@type": "Organization", "name": author["name"]} for author in citation["authors"]],
        "referencePublication": [
            {"@type": "ScholarlyArticle", "name": paper["title"], "identifier": arxiv(paper)}
            for paper in citation["references"]
        ],
    }


def zenodo(citation: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, Any]:
    """What Zenodo takes from a repository for the record of a release."""
    return {
        "title": citation["title"],
        "description": citation["abstract"],
        "version": project["version"],
        "license": project["license"],
        "upload_type": "software",
        "access_right": "open",
        "creators": [{"name": author["name"]} for author in citation["authors"]],
        "keywords": citation["keywords"],
        "related_identifiers": [
            {"identifier": arxiv(paper), "relation": "isSupplementTo", "resource_type": "publication-article"}
            for paper in citation["references"]
        ],
    }


def arxiv(paper: Mapping[str, Any]) -> str:
    return next(one["value"] for one in paper["identifiers"] if one["value"].startswith("arXiv:"))


def written() -> dict[Path, str]:
    """The text of both files."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {CODEMETA: codemeta(citation, project), ZENODO: zenodo(citation, project)}
    return {path: json.dumps(values, indent=2, ensure_ascii=False) + "\n" for path, values in found.items()}


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
