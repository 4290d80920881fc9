"""Where a number comes from: code, versions, machine, seeds, and the hashes of everything that went in."""

import json
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from deepinside.home import HOME, PACKAGE

COMMIT = PACKAGE / "commit.json"
"""What `code` says, in a copy of the package that was sent to another machine without its repository."""
PACKAGES = ("torch", "numpy", "onnx", "onnx2torch", "onnxruntime-gpu", "onnxruntime", "pillow", "hydra-core")


def provenance(
    *, network: Mapping[str, Any], images: Mapping[str, str], inputs: Mapping[str, Any], runtime: Mapping[str, Any],
    seed: int, started: str, display: str,
) -> dict[str, Any]:  # fmt: skip
    """Everything but the configuration that a run's numbers depend on.

    `images` maps a stem to its file's SHA-256; `inputs` is what tells at a glance whether anything has changed;
    `display` says how maps are drawn.
    """
    return {
        "code": code(),
        "versions": versions(),
        "machine": {"python": platform.python_version(), "system": platform.system(), "processor": platform.machine()},
        "runtime": dict(runtime),
        "seed": seed,
        "network": dict(network),
        "inputs": dict(inputs),
        "images": dict(images),
        "display": display,
        "started": started,
    }


@cache
def code() -> dict[str, Any]:
    """The commit the code stands at and whether it was changed since; None where there is no repository."""
    if COMMIT.is_file():
        return dict(json.loads(COMMIT.read_text(encoding="utf-8")))
    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def git(*words: str) -> str | None:
    if not (HOME / ".git").exists():  # an installed package may lie inside somebody else's repository
        return None
    try:
        done = subprocess.run(["git", *words], cwd=HOME, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


@cache
def sources_digest() -> str:
    """The SHA-256 of this program's own code."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """The installed version of every package a number may depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
