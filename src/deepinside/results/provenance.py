"""Provenance: code, versions, machine, seeds and the hashes of all inputs."""

import json
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from deepinside.config.paths import PACKAGE, ROOT

COMMIT = PACKAGE / "commit.json"
"""The output of `code`, for a copy of the package on a machine without the repository."""
PACKAGES = (
    "deepinside", "torch", "numpy", "numba", "onnx", "onnx2torch", "onnxruntime-gpu", "onnxruntime", "pillow",
    "hydra-core",
)  # fmt: skip


def provenance(
    *, network: Mapping[str, Any], images: Mapping[str, str], inputs: Mapping[str, Any], runtime: Mapping[str, Any],
    seed: int, started: str, display: str,
) -> dict[str, Any]:  # fmt: skip
    """Everything a run's numbers depend on, except the configuration.

    `images` maps a file stem to the SHA-256 of the file. `inputs` is a quick fingerprint that detects changes.
    `display` describes how maps are drawn.
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
    """The commit of the code and whether the working tree has changes; None without a repository."""
    if COMMIT.is_file():
        return dict(json.loads(COMMIT.read_text(encoding="utf-8")))
    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def git(*words: str) -> str | None:
    if not (ROOT / ".git").exists():  # an installed package may be inside another repository
        return None
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


@cache
def sources_digest() -> str:
    """The SHA-256 of this package's source code."""
    digest = sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """The installed versions of the packages that can affect numbers."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
