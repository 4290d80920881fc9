"""Caches successful verifications in the user's cache folder, so that onnxruntime runs once and not at every start.

An entry is valid for exactly the bytes, settings, libraries, code and type of processor it was made with. If any of
them differs, or if the entry is damaged, the network is verified again.
"""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from deepinside.networks.cache import cache_folder
from deepinside.networks.network import Network

PACKAGES = ("torch", "numpy", "onnx", "onnx2torch", "onnxruntime", "onnxruntime-gpu", "scikit-image")
"""The packages that affect a verification; scikit-image has the reference photo."""
DESCRIPTION = {"file", "folder", "title", "urls", "bytes", "licence", "source", "notes"}
"""Keys of a declaration that change no number; the file is identified by its bytes."""

Facts = Mapping[str, Any]


def facts(network: Network, files: str, *, limit: float) -> Facts:
    """Everything that affects the verification of `network`, assembled from files with the SHA-256 `files`."""
    spec = {name: value for name, value in asdict(network.spec).items() if name not in DESCRIPTION}
    found = {
        "files": files,
        "spec": spec,
        "labels": [(label.wnid, label.name) for label in network.labels],
        "limit": limit,
        "single_image": network.single_image,
        "versions": versions(),
        "code": code_digest(),
        "processor": [platform.machine(), torch.backends.cpu.get_cpu_capability()],
        "threads": torch.get_num_threads(),  # affects the rounding of sums
    }
    return json.loads(json.dumps(found))  # tuples become lists, as in the stored file


def load_cached(facts: Facts, network: Network, *, cache: Path | None = None) -> dict[str, float] | None:
    """The differences by layer from a verification with these facts, or None if none is cached."""
    try:
        content = json.loads(cache_path(facts, cache).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("facts") != facts:
        return None
    checks = content.get("checks")
    return checks if isinstance(checks, dict) and is_valid(checks, network, facts["limit"]) else None


def is_valid(checks: Mapping[str, Any], network: Network, limit: float) -> bool:
    """Whether these can be the differences of a verified network: its own layers, each within the limit."""
    numbers = all(isinstance(value, float) and isfinite(value) and 0 <= value <= limit for value in checks.values())
    return numbers and network.target in checks and set(checks) <= set(network.layers)


def store(facts: Facts, checks: Mapping[str, float], *, cache: Path | None = None) -> None:
    """Store the differences of a successful verification; a folder without write access is no error."""
    path = cache_path(facts, cache)
    content = json.dumps({"facts": facts, "checks": {name: float(value) for name, value in checks.items()}}, indent=1)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=path.stem, suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(content)
            Path(temporary).replace(path)  # atomic, also if several processes write it
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def cache_path(facts: Facts, cache: Path | None = None) -> Path:
    """The file for these facts."""
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return (cache or cache_folder()) / "verified" / f"{key}.json"


@cache
def versions() -> dict[str, str]:
    """The installed version of each of `PACKAGES`."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def code_digest() -> str:
    """The SHA-256 of the code that reads, converts, runs and verifies networks."""
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()
