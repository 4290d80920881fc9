"""Claims on networks whose answer is known, and on numbers made by hand."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from torch import nn

from deepinside import claims
from deepinside.attribution.relu_rules import count_relus, with_rule
from deepinside.claims import CLAIMS, Evidence, NotMeasuredError, check_known, deconvnet, evaluate, statements
from deepinside.claims.deconvnet import agreement_by_layer, convolved_with_flipped_kernels, unpooled_at_switches
from deepinside.claims.registry import PATH
from deepinside.claims.simonyan import backward_passes, fit_slope, taylor_orders
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.techniques.randomisation import Randomisation
from deepinside.techniques.saliency import Saliency
from deepinside.types import Photo, Seeds


def evidence(network: Network, **metrics: float | list[float]) -> Evidence:
    """Eight items that all have these numbers, or as many as are listed."""
    named = {name.replace("__", "/").replace("_to_", "~"): value for name, value in metrics.items()}
    columns = {name: np.array(value if isinstance(value, list) else [value] * 8) for name, value in named.items()}
    return Evidence(network, toys.photos(network, 6), Seeds(0), {}, columns)


def linear(folder: Path) -> Network:
    return toys.linear(folder, toys.RGB).network


def test_a_slope_is_fitted_by_column() -> None:
    x = torch.tensor([0.0, 1, 2, 5])
    assert fit_slope(x, torch.stack([2 * x + 1, -x], 1)).tolist() == pytest.approx([2, -1])


def test_a_quadratic_score_has_an_error_of_second_order(tmp_path: Path) -> None:
    network = toys.quadratic(tmp_path)
    orders = taylor_orders(network, toys.photos(network, 3), Seeds(0))
    assert orders.tolist() == pytest.approx([2, 2, 2], abs=0.01)
    found = evaluate("taylor_first_order", evidence(network))
    assert (found.verdict, found.n) == ("holds", 6) and found.estimate == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("build", [linear, toys.grey], ids=["linear", "piecewise linear"])
def test_where_the_expansion_is_exact_rounding_is_no_error(tmp_path: Path, build: Callable[[Path], Network]) -> None:
    network = build(tmp_path)
    orders = taylor_orders(network, toys.photos(network, 3), Seeds(0))
    assert orders.isfinite().all() and (orders >= 2).all()
    assert evaluate("taylor_first_order", evidence(network)).verdict == "holds"


def test_a_small_caffenet_keeps_to_its_expansion(tmp_path: Path) -> None:
    assert evaluate("taylor_first_order", evidence(toys.caffe(tmp_path))).verdict == "holds"


@pytest.mark.parametrize(
    ("name", "metrics", "estimate", "verdict"),
    [
        ("posterior_lowers_the_others", {"posterior__log_odds_share_of_other_classes": 0.5}, 0.5, "holds"),
        ("posterior_lowers_the_others", {"posterior__log_odds_share_of_other_classes": 0.4}, 0.4, "fails"),
        ("posterior_shows_less", {"posterior__score": 2, "score__score": 8}, 0.25, "holds"),
        ("posterior_shows_less", {"posterior__score": 7, "score__score": 8}, 0.875, "fails"),
        ("soft_max_mixes_classes", {"rank_correlation__score_to_posterior": 0.75}, 0.75, "holds"),
        ("soft_max_mixes_classes", {"rank_correlation__score_to_posterior": 0.95}, 0.95, "fails"),
        ("every_photo_can_be_fooled", {"random__success": 1}, 1, "holds"),
        ("every_photo_can_be_fooled", {"random__success": [1, 0] * 4}, 0.5, "inconclusive"),
        ("fooling_takes_a_small_change", {"random__rms_change": 1.5}, 1.5, "holds"),
        ("fooling_takes_a_small_change", {"random__rms_change": 2}, 2, "fails"),
        ("ten_crops_agree_with_one", {"rank_correlation__ten_to_centre": 0.5}, 0.5, "holds"),
        ("ten_crops_agree_with_one", {"rank_correlation__ten_to_centre": 0.4}, 0.4, "fails"),
    ],
)
def test_verdicts(tmp_path: Path, name: str, metrics: dict[str, Any], estimate: float, verdict: str) -> None:
    network = linear(tmp_path)
    found = evaluate(name, evidence(network, **metrics))
    assert (found.id, found.estimate, found.verdict, found.n) == (name, estimate, verdict, 8)
    with pytest.raises(NotMeasuredError, match=r"it needs the metric .* which only the experiment's own variants"):
        evaluate(name, evidence(network))


SPREAD = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


@pytest.mark.parametrize(
    ("values", "n", "verdict"),
    [
        (SPREAD, 8, "inconclusive"),  # the interval includes the threshold, 0.5
        ([x + 0.4 for x in SPREAD], 8, "holds"),
        ([x - 0.4 for x in SPREAD], 8, "fails"),
        ([0.9] * 5, 5, "inconclusive"),  # too few for an interval
        ([0.75] * 8 + [np.nan], 8, "holds"),  # an item without this number is no unit
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(
    tmp_path: Path, values: list[float], n: int, verdict: str
) -> None:
    found = evaluate("ten_crops_agree_with_one", evidence(linear(tmp_path), rank_correlation__ten_to_centre=values))
    assert (found.n, found.verdict) == (n, verdict)
    assert (found.interval is None) == (n < 6)
    if found.interval is not None:
        assert found.interval[0] <= found.estimate <= found.interval[1]


def test_the_interval_depends_on_the_runs_seed_alone(tmp_path: Path) -> None:
    seen = evidence(linear(tmp_path), rank_correlation__ten_to_centre=[x**2 for x in SPREAD])
    first, again = (evaluate("ten_crops_agree_with_one", seen).interval for _ in range(2))
    other = evaluate("ten_crops_agree_with_one", replace(seen, seeds=Seeds(1))).interval
    assert first == again
    assert first is not None and other is not None and first != other
    assert other == pytest.approx(first, abs=0.03)


def test_every_claim_has_a_function_and_an_entry() -> None:
    assert set(statements()) == set(CLAIMS)
    assert all(function.__name__ == name and function.__doc__ for name, function in CLAIMS.items())
    assert all(each.reason and each.measure and each.source for each in statements().values())
    check_known(tuple(CLAIMS))
    with pytest.raises(DeepInsideError, match=r"unknown claim 'taylor'; known claims are .*taylor_first_order"):
        check_known(("taylor",))


def test_no_statement_or_threshold_is_written_twice() -> None:
    """Statements stand in `configs/claims.yaml` only, and the modules of claims compare with no number."""
    code = [path.read_text(encoding="utf-8") for path in Path(claims.__file__).parent.glob("*.py")]
    assert not [each.claim for each in statements().values() for text in code if each.claim in text]
    told = [each.claim for each in statements().values()]
    assert len(told) == len(set(told))
    ids = [line.split(":")[0] for line in PATH.read_text(encoding="utf-8").splitlines() if re.match(r"\w+:", line)]
    assert len(ids) == len(set(ids)) == len(CLAIMS)


# ---- one by one, on items whose verdict is known ----


@pytest.mark.parametrize(
    ("name", "metrics", "estimate", "verdict"),
    [
        ("class_models_are_confident", {"paper__posterior": 0.95}, 0.95, "holds"),
        ("class_models_are_confident", {"paper__posterior": 0.5}, 0.5, "fails"),
        ("class_model_from_noise_scores_the_same", {"noise__score": 19.0, "zero__score": 20.0}, 0.95, "holds"),
        ("class_model_from_noise_scores_the_same", {"noise__score": 10.0, "zero__score": 20.0}, 0.5, "fails"),
        ("class_model_from_a_photo_scores_the_same", {"photo__score": 30.0, "zero__score": 20.0}, 1.5, "holds"),
        ("class_model_from_a_photo_scores_the_same", {"photo__score": 10.0, "zero__score": 20.0}, 0.5, "fails"),
        ("saliency_is_class_specific", {"rank_correlation__cats_to_dogs": 0.5}, 0.5, "holds"),
        ("saliency_is_class_specific", {"rank_correlation__cats_to_dogs": 1.0}, 1.0, "fails"),
        ("saliency_marks_what_the_score_needs",
         {"gradient__deletion_area": 0.25, "gradient__random_deletion_area": 0.5}, -0.25, "holds"),
        ("saliency_marks_what_the_score_needs",
         {"gradient__deletion_area": 0.5, "gradient__random_deletion_area": 0.5}, 0, "fails"),
        ("saliency_marks_what_suffices",
         {"gradient__insertion_area": 0.75, "gradient__random_insertion_area": 0.5}, 0.25, "holds"),
        ("saliency_marks_what_suffices",
         {"gradient__insertion_area": 0.25, "gradient__random_insertion_area": 0.5}, -0.25, "fails"),
        ("saliency_points_better_than_the_centre", {"pointing": 1.0, "pointing_centre": 0.0}, 1, "holds"),
        ("saliency_points_better_than_the_centre", {"pointing": 0.0, "pointing_centre": 1.0}, -1, "fails"),
        ("saliency_localises_by_top5", {"graph_cut__top5_error": [0.0] * 40 + [1.0] * 10}, 0.2, "holds"),
        ("saliency_localises_by_top5", {"graph_cut__top5_error": 1.0}, 1, "fails"),
        ("deconvnet_differs_at_relu", {"rank_correlation__gradient_to_deconvnet": 0.25}, 0.25, "holds"),
        ("deconvnet_differs_at_relu", {"rank_correlation__gradient_to_deconvnet": 0.75}, 0.75, "fails"),
        ("guided_maps_are_more_concentrated",
         {"guided__map_spread": 0.25, "gradient__map_spread": 0.5}, -0.25, "holds"),
        ("guided_maps_are_more_concentrated", {"guided__map_spread": 0.5, "gradient__map_spread": 0.25}, 0.25, "fails"),
        ("gradient_changes_with_the_top_layer", {"gradient__rank_correlation_top": 0.25}, 0.25, "holds"),
        ("gradient_changes_with_the_top_layer", {"gradient__rank_correlation_top": 0.75}, 0.75, "fails"),
        ("guided_passes_from_the_bottom", {"bottom_up__guided__rank_correlation_mean": 0.25}, 0.25, "holds"),
        ("guided_passes_from_the_bottom", {"bottom_up__guided__rank_correlation_mean": 0.75}, 0.75, "fails"),
        ("top_down_order_preserves_guided_maps",
         {"top_down__guided__rank_correlation_mean": 0.75, "bottom_up__guided__rank_correlation_mean": 0.5}, 0.25,
         "holds"),
        ("top_down_order_preserves_guided_maps",
         {"top_down__guided__rank_correlation_mean": 0.5, "bottom_up__guided__rank_correlation_mean": 0.75}, -0.25,
         "fails"),
        ("noise_lowers_similarity",
         {"smprt__gradient__rank_correlation_mean": 0.75, "top_down__gradient__rank_correlation_mean": 0.5}, 0.25,
         "holds"),
        ("noise_lowers_similarity",
         {"smprt__gradient__rank_correlation_mean": 0.5, "top_down__gradient__rank_correlation_mean": 0.75}, -0.25,
         "fails"),
        ("gradient_rises_in_entropy", {"top_down__gradient__entropy_rise_all": 0.25}, 0.25, "holds"),
        ("gradient_rises_in_entropy", {"top_down__gradient__entropy_rise_all": -0.25}, -0.25, "fails"),
        ("saliency_points_more_than_a_centre_prior", {"mass_inside": 0.75, "mass_centre": 0.5}, 0.25, "holds"),
        ("saliency_points_more_than_a_centre_prior", {"mass_inside": 0.5, "mass_centre": 0.75}, -0.25, "fails"),
        ("saliency_points_more_than_edges", {"mass_inside": 0.75, "mass_edges": 0.5}, 0.25, "holds"),
        ("saliency_points_more_than_edges", {"mass_inside": 0.5, "mass_edges": 0.75}, -0.25, "fails"),
        ("inversion_error_grows_with_lambda", {"lambda_1__p__error": 0.25, "lambda_100__p__error": 0.5}, 0.25, "holds"),
        ("inversion_error_grows_with_lambda", {"lambda_1__p__error": 0.5, "lambda_100__p__error": 0.5}, 0, "fails"),
        ("smooth_variation_inverts_better", {"lambda_10__p__psnr": 20.0, "beta_1__p__psnr": 18.0}, 2, "holds"),
        ("smooth_variation_inverts_better", {"lambda_10__p__psnr": 18.0, "beta_1__p__psnr": 20.0}, -2, "fails"),
        ("inversions_from_any_start_match_the_code",
         {"p__error_restart_1": 0.0625, "p__error_restart_2": 0.125}, 0.125, "holds"),
        ("inversions_from_any_start_match_the_code",
         {"p__error_restart_1": 0.0625, "p__error_restart_2": 0.5}, 0.5, "fails"),
        ("inversions_of_one_code_differ_in_pixels", {"p__restarts_apart": 20.0}, 20, "holds"),
        ("inversions_of_one_code_differ_in_pixels", {"p__restarts_apart": 1.0}, 1, "fails"),
    ],
)  # fmt: skip
def test_verdicts_of_further_claims(
    tmp_path: Path, name: str, metrics: dict[str, Any], estimate: float, verdict: str
) -> None:
    found = evaluate(name, evidence(linear(tmp_path), **metrics))
    assert (found.estimate, found.verdict) == (pytest.approx(estimate), verdict)
    with pytest.raises(NotMeasuredError):
        evaluate(name, evidence(linear(tmp_path)))


def test_a_judge_is_needed_to_tell_whether_class_models_transfer(tmp_path: Path) -> None:
    network = linear(tmp_path)
    seen = evidence(network, paper__judge_top1=[1.0] * 12)
    with pytest.raises(NotMeasuredError, match="set judge=NETWORK"):
        evaluate("class_models_transfer", seen)
    found = evaluate("class_models_transfer", replace(seen, judge=network))
    assert (found.estimate, found.n, found.unit, found.verdict) == (1, 12, "class", "holds")
    assert found.interval == pytest.approx((0.7354, 1), abs=1e-4)


@pytest.mark.parametrize(("crops", "count"), [("centre", 1), ("ten", 10)])
def test_backward_passes_are_counted(tmp_path: Path, crops: str, count: int) -> None:
    network = toys.caffe(tmp_path)
    side = network.size[0] + 4
    photo = Photo("p", torch.rand(3, side, side) * 100, "")
    technique = Saliency(crops=crops)  # type: ignore[arg-type]
    passes = backward_passes(technique, network, photo, Seeds(0))
    assert passes == count if crops == "centre" else 1 < passes <= count  # several crops may share a pass


def test_a_map_of_one_crop_costs_one_pass(tmp_path: Path) -> None:
    seen = evidence(toys.caffe(tmp_path))
    found = evaluate("saliency_costs_one_backward_pass", replace(seen, techniques={"centre": Saliency()}))
    assert (found.estimate, found.n, found.exact, found.verdict) == (1, 6, True, "holds")
    with pytest.raises(NotMeasuredError, match="crops=centre"):
        evaluate("saliency_costs_one_backward_pass", replace(seen, techniques={"ten": Saliency(crops="ten")}))


LAYERS = [
    nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
    nn.Conv2d(4, 6, (3, 5), stride=(1, 3), padding=(0, 2), dilation=(2, 1)),
    nn.MaxPool2d(3, 2),
    nn.MaxPool2d(2, 2, padding=1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_what_a_deconvnet_does_is_the_gradient(layer: nn.Module) -> None:
    x = torch.randn(2, 4, 12, 13, dtype=torch.float64, requires_grad=True)
    layer = layer.double()
    above = layer(x)
    signal = torch.randn_like(above)
    (gradient,) = torch.autograd.grad(above, x, signal)
    written_out = convolved_with_flipped_kernels if isinstance(layer, nn.Conv2d) else unpooled_at_switches
    torch.testing.assert_close(written_out(layer, x.detach(), signal), gradient)


def test_deconvnets_layers_on_a_network_and_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("deconvnet_is_gradient_at_convolutions", "deconvnet_is_gradient_at_max_pooling")
    seen = evidence(toys.caffe(tmp_path))
    for name in names:
        found = evaluate(name, seen)
        assert (found.exact, found.n, found.verdict) == (True, 6, "holds")
        with pytest.raises(NotMeasuredError, match="no layer of type"):
            evaluate(name, evidence(linear(tmp_path)))
    monkeypatch.setattr(deconvnet, "unpooled_at_switches", lambda layer, x, signal: torch.zeros_like(x))
    assert evaluate(names[1], seen).verdict == "fails"


def test_a_deconvnets_signal_departs_at_every_relu_and_nowhere_else(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    batch = toys.photos(network, 1)
    ruled = with_rule(network, "deconvnet")[0]
    found = agreement_by_layer(network, ruled, batch)
    above = count_relus(network, network.target)
    before = [value for layer, value in found.items() if count_relus(network, layer) == above]
    assert before == pytest.approx([1.0] * len(before))
    assert before and min(found.values()) < 0.9
    assert list(agreement_by_layer(network, network, batch).values()) == pytest.approx([1.0] * len(found))
    with pytest.raises(NotMeasuredError, match="no ReLU"):
        evaluate("deconvnet_departs_relu_by_relu", evidence(linear(tmp_path)))


def test_entropies_of_two_rules_are_compared_by_photo(tmp_path: Path) -> None:
    """Items are gradient and guided in turn; the second photo's guided map is blank."""
    rises = {"gradient": [0.5, 0.25, 1.0, 0.0, 0.5, 0.5, 0.5], "guided": [0.25, np.nan, 0.5, 0.25, 0.0, 0.0, 0.0]}
    gradient, guided = ([*np.ravel([[a, np.nan] for a in rises[rule]])] for rule in rises)
    guided = guided[-1:] + guided[:-1]
    metrics = {"top_down__gradient__entropy_rise_all": gradient, "top_down__guided__entropy_rise_all": guided}
    techniques = {"top_down": Randomisation(rules=("gradient", "guided"))}
    found = evaluate(
        "entropy_test_ranks_gradient_above_guided",
        replace(evidence(linear(tmp_path), **metrics), techniques=techniques),
    )
    assert found.n == 6 and found.estimate == pytest.approx(2.0 / 6)
