"""Measurements of a claim next to its threshold: places on a common axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 300.0
MARGIN = 0.12
"""Free space at each end of the axis, as a share of the values' range."""


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, drawn `WIDTH` wide."""

    low: float
    high: float

    def place(self, value: float) -> float:
        return round((value - self.low) / (self.high - self.low) * WIDTH, 1)

    def side(self, claim: Mapping[str, Any]) -> tuple[float, float]:
        """Start and width of the part where the claim holds; no width for a number that is to be matched."""
        threshold = self.place(claim["threshold"])
        return {"≥": (threshold, WIDTH - threshold), ">": (threshold, WIDTH - threshold)}.get(
            claim["direction"], (0.0, threshold if claim["direction"] in "≤<" else 0.0)
        )


def axis(claims: Sequence[Mapping[str, Any]]) -> Axis:
    """The axis on which the estimates, intervals and thresholds of all `claims` are visible."""
    values = [value for one in claims for value in (one["estimate"], one["threshold"], *(one["interval"] or ()))]
    low, high = min(values), max(values)
    spare = (high - low) * MARGIN or abs(high) or 1.0
    return Axis(low - spare, high + spare)
