"""Verifications that succeeded, remembered in the user's cache folder: onnxruntime runs once, not at every start.

What is remembered holds for the very bytes, settings, libraries, code and kind of processor it was found with. Where
any of them differs, or where what lies there is not what was written, the network is verified anew.
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
"""What takes part in a verification; scikit-image has the reference photo."""
DESCRIPTION = {"file", "folder", "title", "urls", "bytes", "licence", "source", "notes"}
"""What of a declaration changes no number; the file is known by its bytes."""

Facts = Mapping[str, Any]


def facts(network: Network, files: str, *, limit: float) -> Facts:
    """All that decides whether `network`, assembled from files of the SHA-256 `files`, passes its verification."""
    spec = {name: value for name, value in asdict(network.spec).items() if name not in DESCRIPTION}
    found = {
        "files": files,
        "spec": spec,
        "labels": [(label.wnid, label.name) for label in network.labels],
        "limit": limit,
        "alone": network.alone,
        "versions": versions(),
        "code": code_digest(),
        "processor": [platform.machine(), torch.backends.cpu.get_cpu_capability()],
        "threads": torch.get_num_threads(),  # sums are rounded by it
    }
    return json.loads(json.dumps(found))  # lists for tuples, as it is read again


def load_cached(facts: Facts, network: Network, *, cache: Path | None = None) -> dict[str, float] | None:
    """The differences by layer that a verification with these facts found, or None where none is remembered."""
    try:
        content = json.loads(cache_path(facts, cache).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("facts") != facts:
        return None
    checks = content.get("checks")
    return checks if isinstance(checks, dict) and is_valid(checks, network, facts["limit"]) else None


def is_valid(checks: Mapping[str, Any], network: Network, limit: float) -> bool:
    """Whether these can be the differences of a network that passed: its own layers, each within the limit."""
    numbers = all(isinstance(value, float) and isfinite(value) and 0 <= value <= limit for value in checks.values())
    return numbers and network.target in checks and set(checks) <= set(network.layers)


def store(facts: Facts, checks: Mapping[str, float], *, cache: Path | None = None) -> None:
    """Keep the differences of a verification that succeeded; a folder that cannot be written to is no error."""
    path = cache_path(facts, cache)
    content = json.dumps({"facts": facts, "checks": {name: float(value) for name, value in checks.items()}}, indent=1)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=path.stem, suffix=".aside", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(content)
            Path(aside).replace(path)  # whole or not at all, whoever else writes it
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise


def cache_path(facts: Facts, cache: Path | None = None) -> Path:
    """The file for these facts."""
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return (cache or cache_folder()) / "verified" / f"{key}.json"


@cache
def versions() -> dict[str, str]:
    """The installed version of every package that takes part."""
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
