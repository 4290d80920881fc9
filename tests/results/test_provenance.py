"""Where a number comes from."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from deepinside.results import provenance


@pytest.fixture(autouse=True)
def _fresh() -> None:
    provenance.code.cache_clear()


def commit(folder: Path) -> str:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_and_whether_the_code_was_changed_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code.py").write_text("a = 1\n")
    head = commit(tmp_path)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    (tmp_path / "untracked.txt").write_text("no matter")
    assert provenance.code() == {"commit": head, "dirty": False}
    provenance.code.cache_clear()
    (tmp_path / "code.py").write_text("a = 2\n")
    assert provenance.code() == {"commit": head, "dirty": True}


def test_an_installed_package_has_no_commit_even_inside_somebodys_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "x").write_text("")
    commit(tmp_path)
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "site-packages")
    assert provenance.code() == {"commit": None, "dirty": None}


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", "")
    assert provenance.code() == {"commit": None, "dirty": None}


def test_everything_a_number_depends_on_is_there() -> None:
    found = provenance.provenance(
        network={"name": "net", "sha256": "ab"},
        images={"cat": "cd"},
        inputs={"photos": "ef"},
        runtime={"device": "cpu"},
        seed=0,
        started="now",
        display="Maps: …",
    )
    assert found["versions"]["torch"] == version("torch")
    assert {"numpy", "onnx", "onnx2torch", "pillow", "hydra-core"} <= set(found["versions"])
    assert found["machine"]["python"].count(".") == 2
    assert (found["seed"], found["images"], found["network"]["sha256"]) == (0, {"cat": "cd"}, "ab")
