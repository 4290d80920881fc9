"""Networks of torchvision and timm: weights from a cache, a hash that is checked, no wait without a connection."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import deepinside as di
from deepinside.config.libraries import imported
from deepinside.networks.library import build
from deepinside.networks.load import load
from deepinside.networks.spec import find_spec

NAME = "torchvision:squeezenet1_1"
SMALL = "timm:test_convnext"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub, and an address that refuses connections in place of the weights' own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    return tmp_path / "hub" / "checkpoints"


def test_random_weights_are_the_same_every_time_and_disturb_no_random_numbers() -> None:
    spec = find_spec(f"{SMALL}:random")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = build(spec).state_dict(), build(spec).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_scores_are_those_of_the_library_itself(tmp_path: Path) -> None:
    network = di.load(f"{SMALL}:random")
    x = network.input.to_network(
        torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 160, 160), np.uint8))
    )
    with torch.no_grad():
        wanted = build(network.spec)(network.input.native(x))
    assert (network.scores(x) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert network.labels[1].wnid == "n01443537" and network.groups["cats"]
    assert not network.notes, "what a library declares is no guess"


def test_weights_come_from_torchs_cache_and_belong_to_the_networks_identity(hub: Path) -> None:
    torch.manual_seed(1)
    models = imported("torchvision").models
    spec = replace(find_spec(NAME), input=replace(find_spec(NAME).input, size=(64, 64)))
    hub.mkdir(parents=True)
    place = hub / "squeezenet1_1-b8a52dc0.pth"
    place.write_bytes(b"")  # its name says how its hash begins
    with pytest.raises(di.DeepInsideError, match="should have a SHA-256 that begins with b8a52dc0, found e3b0c442"):
        load(spec)
    place.unlink()
    module = models.squeezenet1_1(weights=None)
    found = []
    for scale in (1.0, 1.5):
        torch.save({name: value * scale for name, value in module.state_dict().items()}, hub / "mine.pth")
        digest = hashlib.sha256((hub / "mine.pth").read_bytes()).hexdigest()
        named = f"squeezenet1_1-{digest[:8]}.pth"
        (hub / "mine.pth").replace(hub / named)
        entry = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
        found.append(_loaded_with(entry, f"https://127.0.0.1:9/{named}", spec).sha256)
    assert len(set(found)) == 2


def _loaded_with(entry: object, url: str, spec: object) -> di.Network:
    """The network as if torchvision declared this address for its weights."""
    before = entry._value_  # type: ignore[attr-defined]
    entry._value_ = replace(before, url=url)  # type: ignore[attr-defined]
    try:
        return load(replace(spec, urls=(url,)))  # type: ignore[type-var]
    finally:
        entry._value_ = before  # type: ignore[attr-defined]


def test_timms_weights_are_placed_by_hand_and_loaded(hub: Path, tmp_path: Path) -> None:
    spec = find_spec(f"{SMALL}.r160_in1k")
    torch.manual_seed(2)
    wanted = imported("timm").create_model("test_convnext", pretrained=False).state_dict()
    safetensors.torch.save_file(wanted, tmp_path / "test_convnext.r160_in1k.safetensors")
    found = build(spec, cache=tmp_path).state_dict()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.parametrize("name", [NAME, "timm:test_convnext"])
def test_without_a_connection_there_is_one_sentence_with_the_place(
    name: str, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec(name)
    nowhere = spec.urls[0].replace("https://", "http://127.0.0.1:9/")
    with pytest.raises(di.DeepInsideError, match=r"expected the file of .* here, found none, and 127.0.0.1:9 cannot"):
        build(replace(spec, urls=(nowhere,)), cache=tmp_path)
