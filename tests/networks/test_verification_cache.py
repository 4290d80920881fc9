"""Remembered verifications: not repeated while nothing has changed, and never believed where anything has."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from graphs import caffe, save

from deepinside.errors import DeepInsideError
from deepinside.networks import load as loading
from deepinside.networks import verification_cache
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import NetworkSpec


@pytest.fixture
def spec(tmp_path: Path) -> NetworkSpec:
    return save(caffe(), tmp_path, target="fc8")


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the networks that onnxruntime was run for."""
    names: list[str] = []
    verify = loading.verify

    def counted(original: onnx.ModelProto, network: Network, *, limit: float) -> dict[str, float]:
        names.append(network.name)
        return verify(original, network, limit=limit)

    monkeypatch.setattr(loading, "verify", counted)
    return names


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "verified").iterdir())


def test_a_second_start_gives_the_same_checks_without_a_verification(
    spec: NetworkSpec, tmp_path: Path, verified: list[str]
) -> None:
    first, second = (load(spec, cache=tmp_path / "cache") for _ in range(2))
    assert verified == [spec.name]
    assert list(second.checks.items()) == list(first.checks.items())
    assert max(first.checks.values()) > 0
    assert [path.suffix for path in entries(tmp_path / "cache")] == [".json"]


def test_asked_anew_the_network_is_verified_and_remembered(
    spec: NetworkSpec, tmp_path: Path, verified: list[str]
) -> None:
    load(spec, cache=tmp_path / "cache", reverify=True)
    load(spec, cache=tmp_path / "cache", reverify=True)
    load(spec, cache=tmp_path / "cache")
    assert len(verified) == 2
    assert len(entries(tmp_path / "cache")) == 1


def other_weights(spec: NetworkSpec, _: pytest.MonkeyPatch) -> NetworkSpec:
    proto = onnx.load(str(spec.local_file))
    weights = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weights.flat[0] += np.float32(1e-3)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, proto.graph.initializer[0].name))
    onnx.save(proto, str(spec.local_file))
    return spec


def other_version(name: str) -> Callable[[NetworkSpec, pytest.MonkeyPatch], NetworkSpec]:
    def change(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> NetworkSpec:
        found = {**verification_cache.versions(), name: "0.0.1"}
        monkeypatch.setattr(verification_cache, "versions", lambda: found)
        return spec

    return change


def other_code(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> NetworkSpec:
    monkeypatch.setattr(verification_cache, "code_digest", lambda: "0" * 64)
    return spec


def other_processor(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> NetworkSpec:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NO AVX")
    return spec


def other_architecture(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> NetworkSpec:
    monkeypatch.setattr(platform, "machine", lambda: "abacus")
    return spec


def other_mean(spec: NetworkSpec, _: pytest.MonkeyPatch) -> NetworkSpec:
    return replace(spec, input=replace(spec.input, mean=(1.0, 2.0, 3.0)))


def other_target(spec: NetworkSpec, _: pytest.MonkeyPatch) -> NetworkSpec:
    return replace(spec, target="fc6")


CHANGES = [
    other_weights, other_mean, other_target, other_code, other_processor, other_architecture,
    *(other_version(name) for name in ("torch", "onnx", "onnxruntime", "onnx2torch", "numpy")),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__qualname__)
def test_whatever_changes_it_is_verified_anew(
    change: Callable[[NetworkSpec, pytest.MonkeyPatch], NetworkSpec],
    spec: NetworkSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verified: list[str],
) -> None:
    load(spec, cache=tmp_path / "cache")
    load(change(spec, monkeypatch), cache=tmp_path / "cache")
    assert len(verified) == 2


def test_words_about_a_network_change_nothing(spec: NetworkSpec, tmp_path: Path, verified: list[str]) -> None:
    load(spec, cache=tmp_path / "cache")
    load(replace(spec, title="Another", notes="words", licence="ours"), cache=tmp_path / "cache")
    assert len(verified) == 1


def test_weights_kept_in_further_files_count(tmp_path: Path, verified: list[str]) -> None:
    spec = save(caffe(), tmp_path, target="fc8")
    onnx.save(caffe(), str(spec.local_file), save_as_external_data=True, location="weights.bin", size_threshold=0)
    before = load(spec, cache=tmp_path / "cache")
    weights = tmp_path / "weights.bin"
    changed = bytearray(weights.read_bytes())
    changed[0] ^= 1  # the last bit of one number
    weights.write_bytes(changed)
    after = load(spec, cache=tmp_path / "cache")
    assert before.sha256 == after.sha256
    assert len(verified) == 2


def test_all_the_code_of_networks_is_digested() -> None:
    folder = Path(verification_cache.__file__).parent
    copied = {path.name for path in folder.rglob("*.py")}
    assert {"convert.py", "network.py", "verification.py"} <= copied
    assert len(verification_cache.code_digest()) == 64


def spoil(content: dict[str, Any], checks: object) -> str:
    return json.dumps({**content, "checks": checks})


SPOILT: dict[str, Callable[[dict[str, Any]], str | bytes]] = {
    "empty": lambda _: "",
    "half": lambda content: json.dumps(content)[:-40],
    "bytes": lambda _: b"\xff\xfe\x00",
    "a list": lambda _: "[1, 2]",
    "deep": lambda _: "[" * 100_000,
    "other facts": lambda content: json.dumps({**content, "facts": {**content["facts"], "files": "0" * 64}}),
    "no checks": lambda content: json.dumps({"facts": content["facts"]}),
    "none checked": lambda content: spoil(content, {}),
    "words": lambda content: spoil(content, {**content["checks"], "fc8": "fine"}),
    "above the limit": lambda content: spoil(content, {**content["checks"], "fc8": 1.0}),
    "not a number": lambda content: spoil(content, {**content["checks"], "fc8": float("nan")}),
    "negative": lambda content: spoil(content, {**content["checks"], "fc8": -1e-9}),
    "a foreign layer": lambda content: spoil(content, {**content["checks"], "fc9": 1e-9}),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_what_cannot_be_read_or_is_not_ours_is_ignored_and_replaced(
    kind: str, spec: NetworkSpec, tmp_path: Path, verified: list[str]
) -> None:
    first = load(spec, cache=tmp_path)
    (path,) = entries(tmp_path)
    whole = path.read_bytes()
    spoilt = SPOILT[kind](json.loads(whole))
    path.write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())
    assert load(spec, cache=tmp_path).checks == first.checks
    assert len(verified) == 2
    assert path.read_bytes() == whole


def test_a_failed_verification_is_not_remembered(
    spec: NetworkSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> dict[str, float]:
        raise DeepInsideError("differs")

    monkeypatch.setattr(loading, "verify", refuse)
    with pytest.raises(DeepInsideError, match="differs"):
        load(spec, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_file_in_the_caches_place_is_no_error(spec: NetworkSpec, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder", encoding="utf-8")
    assert max(load(spec, cache=tmp_path / "cache").checks.values()) <= 1e-5


def test_a_cache_that_can_only_be_read_is_no_error(
    spec: NetworkSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> tuple[int, str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert max(load(spec, cache=tmp_path / "cache").checks.values()) <= 1e-5
    assert not entries(tmp_path / "cache")


def test_a_full_disk_leaves_nothing_half_written(
    spec: NetworkSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert max(load(spec, cache=tmp_path / "cache").checks.values()) <= 1e-5
    assert not entries(tmp_path / "cache")


def test_many_at_once_leave_one_whole_file(spec: NetworkSpec, tmp_path: Path) -> None:
    network = load(spec, cache=tmp_path / "first")
    (path,) = entries(tmp_path / "first")
    known = json.loads(path.read_bytes())["facts"]
    cache = tmp_path / "cache"

    def both(_: int) -> bool:
        verification_cache.store(known, network.checks, cache=cache)
        return verification_cache.load_cached(known, network, cache=cache) == network.checks

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(both, range(200)))
    assert [found.name for found in entries(cache)] == [path.name]
    assert entries(cache)[0].read_bytes() == path.read_bytes()


LATE = """
import json, sys
from pathlib import Path
from graphs import caffe, save
from deepinside.networks.load import load
load(save(caffe(), Path(sys.argv[1]), target="fc8"), cache=Path(sys.argv[1]))
late = ("onnxruntime", "onnx.reference", "skimage", "requests", "scipy", "torchvision")
print(json.dumps([name for name in late if name in sys.modules]))
"""


def test_a_remembered_network_needs_neither_onnxruntime_nor_the_reference_photo(tmp_path: Path) -> None:
    spec = save(caffe(), tmp_path, target="fc8")
    threads = torch.get_num_threads()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    load(spec, cache=tmp_path)
    tests = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        [sys.executable, "-c", LATE, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tests, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    assert len(entries(tmp_path)) == 1
