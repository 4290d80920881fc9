"""Claims on networks whose answer is known, and on numbers made by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import toys

from deepinside.claims import CLAIMS, Evidence, check_known
from deepinside.claims.registry import NotMeasuredError
from deepinside.claims.simonyan import fit_slope, taylor_orders
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.types import Seeds


def evidence(network: Network, **metrics: float) -> Evidence:
    named = {name.replace("__", "/").replace("_to_", "~"): value for name, value in metrics.items()}
    return Evidence(network, toys.photos(network, 3), Seeds(0), {}, named)


def linear(folder: Path) -> Network:
    return toys.linear(folder, toys.RGB).network


def test_a_slope_is_fitted_by_column() -> None:
    x = torch.tensor([0.0, 1, 2, 5])
    assert fit_slope(x, torch.stack([2 * x + 1, -x], 1)).tolist() == pytest.approx([2, -1])


def test_a_quadratic_score_has_an_error_of_second_order(tmp_path: Path) -> None:
    network = toys.quadratic(tmp_path)
    orders = taylor_orders(network, toys.photos(network, 3), Seeds(0))
    assert orders.tolist() == pytest.approx([2, 2, 2], abs=0.01)
    found = CLAIMS["taylor_first_order"](evidence(network))
    assert found.holds and found.measured == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("build", [linear, toys.grey], ids=["linear", "piecewise linear"])
def test_where_the_expansion_is_exact_rounding_is_no_error(tmp_path: Path, build: Callable[[Path], Network]) -> None:
    network = build(tmp_path)
    orders = taylor_orders(network, toys.photos(network, 3), Seeds(0))
    assert orders.isfinite().all() and (orders >= 2).all()
    assert CLAIMS["taylor_first_order"](evidence(network)).holds


def test_a_small_caffenet_keeps_to_its_expansion(tmp_path: Path) -> None:
    assert CLAIMS["taylor_first_order"](evidence(toys.caffe(tmp_path))).holds


@pytest.mark.parametrize(
    ("name", "metrics", "measured", "holds"),
    [
        ("posterior_lowers_the_others", {"posterior__log_odds_share_of_other_classes": 0.5}, 0.5, True),
        ("posterior_lowers_the_others", {"posterior__log_odds_share_of_other_classes": 0.4}, 0.4, False),
        ("posterior_shows_less", {"posterior__score": 2, "score__score": 8}, 0.25, True),
        ("posterior_shows_less", {"posterior__score": 7, "score__score": 8}, 0.875, False),
        ("soft_max_mixes_classes", {"rank_correlation__score_to_posterior": 0.9}, 0.9, True),
        ("soft_max_mixes_classes", {"rank_correlation__score_to_posterior": 0.95}, 0.95, False),
        ("ten_crops_agree_with_one", {"rank_correlation__ten_to_centre": 0.5}, 0.5, True),
        ("ten_crops_agree_with_one", {"rank_correlation__ten_to_centre": 0.4}, 0.4, False),
    ],
)
def test_verdicts(tmp_path: Path, name: str, metrics: dict[str, float], measured: float, holds: bool) -> None:
    network = linear(tmp_path)
    found = CLAIMS[name](evidence(network, **metrics))
    assert (found.id, found.measured, found.holds) == (name, measured, holds)
    assert "Simonyan" in found.source or "keras-vis" in found.source
    with pytest.raises(NotMeasuredError, match=r"it needs the metric .* which only the experiment's own variants"):
        CLAIMS[name](evidence(network))


def test_claims_are_known_by_their_functions_names() -> None:
    assert all(function.__name__ == name and function.__doc__ for name, function in CLAIMS.items())
    check_known(tuple(CLAIMS))
    with pytest.raises(DeepInsideError, match=r"unknown claim 'taylor'; known claims are .*taylor_first_order"):
        check_known(("taylor",))
