"""Claims on networks whose answer is known, and on numbers made by hand."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys

from deepinside import claims
from deepinside.claims import CLAIMS, Evidence, NotMeasuredError, check_known, evaluate, statements
from deepinside.claims.registry import PATH
from deepinside.claims.simonyan import fit_slope, taylor_orders
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.types import Seeds


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
        ("ten_crops_agree_with_one", {"rank_correlation__ten_to_centre": 0.5}, 0.5, "holds"),
        ("ten_crops_agree_with_one", {"rank_correlation__ten_to_centre": 0.4}, 0.4, "fails"),
    ],
)
def test_verdicts(tmp_path: Path, name: str, metrics: dict[str, float], estimate: float, verdict: str) -> None:
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
