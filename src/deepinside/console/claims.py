"""The numbers of a claim in words, for the terminal, the report and the README."""

from collections.abc import Mapping
from typing import Any

MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?"}


def estimate_text(claim: Mapping[str, Any]) -> str:
    """The estimate with its 95 % interval, such as `0.69 [0.61, 0.74]`; the estimate alone if there is no interval."""
    estimate = f"{claim['estimate']:.3g}"
    if claim["interval"] is None:
        return f"{estimate} (exact)" if claim["exact"] else estimate
    low, high = claim["interval"]
    return f"{estimate} [{low:.3g}, {high:.3g}]"


def count_text(claim: Mapping[str, Any]) -> str:
    """The number of units, such as `9 photos`."""
    plural = {"class": "classes"}.get(claim["unit"], f"{claim['unit']}s")
    return f"{claim['n']} {claim['unit'] if claim['n'] == 1 else plural}"


def expected_text(claim: Mapping[str, Any]) -> str:
    """The condition, such as `rank correlation ≥ 0.5`."""
    return f"{claim['measure']} {threshold_text(claim)}"


def threshold_text(claim: Mapping[str, Any]) -> str:
    return f"{claim['direction']} {claim['threshold']:g}"


def because(claim: Mapping[str, Any]) -> str:
    """Why the claim has its verdict, in one sentence."""
    measured = f"{estimate_text(claim)}, {count_text(claim)}; expected {threshold_text(claim)}"
    if claim["verdict"] != "inconclusive":
        return f"Measured: {measured}."
    if claim["interval"] is None:
        return f"Measured: {measured}. There are too few for an interval."
    return f"Measured: {measured}. The interval includes the threshold."
