"""The claims on hand-made representations: the paper's error by loops, and when a number is the paper's."""

from datetime import date
from itertools import combinations

import numpy as np
import pytest
import torch
import toys

from deepinside.claims.mahendran import distances
from deepinside.claims.registry import Evidence, NotMeasuredError, Statement, check_measurable, evaluate, near
from deepinside.errors import DeepInsideError
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import find_spec
from deepinside.techniques.inversion import Inversion
from deepinside.types import Claim, ImageBatch, Photo, Seeds


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


# ---- restricted inversions: a neighbourhood of units, half of the channels ----


@pytest.fixture(scope="module")
def caffe(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return toys.caffe(tmp_path_factory.mktemp("caffe"))


def found(network: Network, claim: str, **columns: float | list[float]) -> Claim:
    """The verdict on eight photos with these numbers."""
    named = {name.replace("__", "/"): np.broadcast_to(np.array(values, float), 8) for name, values in columns.items()}
    evidence = Evidence(network, toys.photos(network, 6), Seeds(0), {"": Inversion(layers=("conv1", "norm1"))}, named)
    return evaluate(claim, evidence)


@pytest.mark.parametrize(("shares", "estimate", "verdict"), [((0.95, 0.91), 0.93, "holds"), ((0.5, 0.9), 0.7, "fails")])
def test_contrast_outside_the_field_counts_where_the_field_is_not_the_image(
    caffe: Network, shares: tuple[float, float], estimate: float, verdict: str
) -> None:
    parts = {"conv1__inside": shares[0], "norm1__inside": shares[1], "fc6__inside": 1.0}
    parts["fc6__field"] = 1.0
    claim = found(caffe, "neighbourhoods_invert_locally", conv1__field=0.2, norm1__field=0.6, **parts)
    assert (claim.estimate, claim.verdict) == (pytest.approx(estimate), verdict)
    with pytest.raises(NotMeasuredError, match="the complete image"):
        found(caffe, "neighbourhoods_invert_locally", conv1__field=1.0, norm1__field=1.0, **parts)


def test_the_smallest_effective_field_counts(caffe: Network) -> None:
    claim = found(caffe, "effective_field_is_smaller", conv1__effective_field=1.1, norm1__effective_field=0.7)
    assert (claim.estimate, claim.verdict) == (pytest.approx(0.7), "holds")
    claim = found(caffe, "effective_field_is_smaller", conv1__effective_field=1.1, norm1__effective_field=0.9)
    assert claim.verdict == "fails"


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("other", "ratio", "verdicts"), [(0.1, 0.5, ("holds", "holds")), (0.3, 2, ("fails", "fails"))])
def test_the_more_colourful_half_is_the_colour_group(
    caffe: Network, swapped: bool, other: float, ratio: float, verdicts: tuple[str, str]
) -> None:
    halves = ("second_half", "first_half") if swapped else ("first_half", "second_half")
    numbers = {f"{halves[0]}__conv1__colour_share": 0.3, f"{halves[0]}__norm1__colour_share": 0.5,
               f"{halves[0]}__conv1__frequency": 0.1 * ratio, f"{halves[0]}__norm1__frequency": 0.1 * ratio,
               f"{halves[1]}__conv1__colour_share": other, f"{halves[1]}__norm1__colour_share": other,
               f"{halves[1]}__conv1__frequency": 0.1, f"{halves[1]}__norm1__frequency": 0.1}  # fmt: skip
    colour, frequency = (found(caffe, f"filter_groups_split_{kind}", **numbers) for kind in ("colour", "frequency"))
    assert (colour.estimate, frequency.estimate) == (pytest.approx(0.4 / other), pytest.approx(ratio))
    assert (colour.verdict, frequency.verdict) == verdicts


def test_filter_groups_need_groups_and_both_halves(caffe: Network, network: Network) -> None:
    with pytest.raises(NotMeasuredError, match="variants first_half and second_half"):
        found(caffe, "filter_groups_split_colour", first_half__conv1__colour_share=0.5)
    with pytest.raises(NotMeasuredError, match="no convolution in two groups"):
        evaluate("filter_groups_split_colour", Evidence(network, seen(network, 1, [0.1]).batch, Seeds(0), {}, {}))


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
