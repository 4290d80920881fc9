"""Vision transformers and their successors, as timm builds them: every technique runs, and ReLU rules are refused."""

from importlib.util import find_spec

import numpy as np
import pytest

import deepinside as di
from deepinside.config.libraries import RANDOM
from deepinside.networks.network import Network

pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
BLOCKS = {
    "vit_tiny_patch16_224": "blocks.3",
    "deit_tiny_patch16_224": "blocks.3.attn",
    "swin_tiny_patch4_window7_224": "layers.1.blocks.0",
    "convnextv2_atto": "stages.1.blocks.0",
}


@pytest.fixture(scope="module", params=BLOCKS)
def network(request: pytest.FixtureRequest) -> Network:
    return di.load(f"timm:{request.param}:{RANDOM}")


def block_of(network: Network) -> str:
    return next(block for name, block in BLOCKS.items() if name in network.spec.file)


def photo(network: Network) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*network.size, 3), dtype=np.uint8)


@pytest.mark.slow
def test_a_saliency_map_a_class_model_and_an_inversion_of_a_block(network: Network) -> None:
    shown = np.asarray(di.saliency(network, photo(network), target=3).map)
    assert np.isfinite(shown).all()
    assert (shown > 0).mean() > 0.9
    before, after = (
        di.class_model(network, 3, optimiser={"steps": steps}, jitter=0.0).metrics["score"] for steps in (1, 12)
    )
    assert after > before
    (inverted,) = di.inversion(network, photo(network), layers=[block_of(network)], optimiser={"steps": 12})
    (error,) = (value for name, value in inverted.metrics.items() if name.endswith("/error"))
    assert 0 < error < 1


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_a_network_without_a_relu_refuses_the_relu_rules(rule: str, network: Network) -> None:
    with pytest.raises(di.DeepInsideError, match="found none in"):
        di.saliency(network, photo(network), relu_rule=rule)
