"""The claims on hand-made representations: the paper's error by loops, and when a number is the paper's."""

from datetime import date
from itertools import combinations

import numpy as np
import pytest
import torch

from deepinside.claims.mahendran import distances
from deepinside.claims.registry import Evidence, NotMeasuredError, Statement, check_measurable, near
from deepinside.errors import DeepInsideError
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import find_spec
from deepinside.techniques.inversion import Inversion
from deepinside.types import ImageBatch, Photo, Seeds


@pytest.fixture(scope="module")
def network() -> Network:
    return load(find_spec("hog_sift"))


def seen(network: Network, count: int, errors: list[float]) -> Evidence:
    generator = torch.Generator().manual_seed(0)
    pixels = 50 * torch.randn(count, 1, 128, 128, generator=generator)
    photos = tuple(Photo(str(number), one, "", number=number) for number, one in enumerate(pixels))
    columns = {f"{layer}/error": np.array(errors) for layer in ("hog", "hogb")}
    return Evidence(network, ImageBatch(photos, pixels), Seeds(0), {"": Inversion()}, columns)


def test_distances_are_in_units_of_the_mean_distance_of_two_photos(network: Network) -> None:
    errors = [0.04, 0.09, 0.25]
    evidence = seen(network, 3, errors)
    codes = [code.double().numpy().ravel() for code in network.activations(evidence.batch.pixels, ["hog"])["hog"]]
    unit = np.mean([np.linalg.norm(a - b) for a, b in combinations(codes, 2)])
    expected = [np.sqrt(error) * np.linalg.norm(code) / unit for error, code in zip(errors, codes, strict=True)]
    np.testing.assert_allclose(distances(evidence, "hog")[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(("count", "errors"), [(1, [0.1]), (2, [0.1, 0.1, 0.1])])
def test_distances_need_all_photos_in_one_batch(network: Network, count: int, errors: list[float]) -> None:
    with pytest.raises(NotMeasuredError, match="two photos or more in one batch"):
        distances(seen(network, count, errors), "hog")


def test_the_layers_must_be_inverted(network: Network) -> None:
    check_measurable(("hog_error", "hogb_error"), network, {"": Inversion(layers=("hog", "hogb"))})
    with pytest.raises(DeepInsideError, match="expected dsift among the inverted layers"):
        check_measurable(("dsift_error",), network, {"": Inversion(layers=("hog", "hogb"))})


@pytest.mark.parametrize(
    ("mean", "verdict"), [(0.30, "holds"), (0.3235, "holds"), (0.3245, "fails"), (0.26, "holds"), (0.23, "fails")]
)
def test_near_is_within_two_combined_standard_errors(mean: float, verdict: str) -> None:
    """Eight values of standard error 0.01, and the paper's 0.02: within 2·√(0.01² + 0.02²) = 0.0447 of 0.279."""
    values = mean + 0.01 * np.sqrt(7) * np.array([1.0, -1] * 4)
    stated = Statement(
        source="s", claim="c", measure="m", unit="photo", direction="≈", threshold=0.279, date=date(2026, 11, 26),
        reason="r", standard_error=0.02,
    )  # fmt: skip
    assert near(stated, values) == verdict
    assert near(stated, values[:5]) == "inconclusive"
