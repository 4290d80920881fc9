"""The registry of claims. An experiment lists its claims; the pipeline measures them at the end of a run.

A claim has two halves: a function in one module per paper, which measures, and an entry in `configs/claims.yaml`, which
says what the paper claims and where the threshold is. Functions never see a threshold.
"""

import hashlib
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from deepinside.config import catalogue
from deepinside.config.paths import ROOT
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.metrics.aggregation import BLANK
from deepinside.metrics.intervals import LEAST_UNITS, Interval, Statistic, Values, confidence_interval, mean
from deepinside.networks.network import Network
from deepinside.types import Claim, ImageBatch, Seeds, Verdict

PATH = ROOT / "configs" / "claims.yaml"
MEETS = {"≥": operator.ge, ">": operator.gt, "≤": operator.le, "<": operator.lt}


class NotMeasuredError(Exception):
    """Raised when a claim cannot be evaluated, for example without box annotations. The run succeeds without it. The
    message gives the reason, without a full stop."""


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Statement:
    """An entry of `configs/claims.yaml`: what the paper says and how it is judged.

    `measure` names the number, `unit` is what is resampled, and the claim holds if the number is `direction`
    `threshold`. `date` and `reason` say when and why the threshold was set; `known` is true if the number was already
    known on tinycaffenet at that time, so that only other networks test it. With the direction `≈` the threshold is a
    number that the paper prints, and `standard_error` is its own.
    """

    source: str
    claim: str
    measure: str
    unit: str
    direction: Literal["≥", ">", "≤", "<", "≈"]
    threshold: float
    date: date
    reason: str
    standard_error: float = Field(default=0.0, ge=0)
    known: bool = False


@cache
def statements() -> dict[str, Statement]:
    """The entries of `configs/claims.yaml` by the claim's id."""
    return TypeAdapter(dict[str, Statement]).validate_python(catalogue.read(PATH))


@dataclass(frozen=True)
class Measurement:
    """What a claim's function returns: `values` (units, columns), one row per independent unit, and their `statistic`.

    Rows that belong together (crops, layers, seeds of one photo) are one unit; average them first. `exact` marks
    statements about every single unit, such as an equality: they have no sampling interval.
    """

    values: Values
    statistic: Statistic = mean
    exact: bool = False


@dataclass(frozen=True)
class Evidence:
    """The inputs of a claim: the network, the run's first batch of photos, and the numbers of all items.

    `techniques` are the run's variants by name; `columns` are the items' metrics (items,), NaN where an item has none;
    `groups` are the items' groups. `judge` is the network that judges computed images, if the experiment has one.
    """

    network: Network
    batch: ImageBatch
    seeds: Seeds
    techniques: Mapping[str, Any]
    columns: Mapping[str, Values]
    groups: Sequence[str | None] = field(default_factory=list)
    judge: Network | None = None

    def values(self, *names: str) -> Values:
        """(items, names): the metrics of the items that have all of them.

        Raises NotMeasuredError if no item has, for example because all maps are blank.
        """
        for name in names:
            if name not in self.columns and BLANK in self.columns:
                raise NotMeasuredError(f"all maps that {name} needs are blank (zero everywhere or constant)")
            if name not in self.columns:
                raise NotMeasuredError(
                    f"it needs the metric {name}, which only the experiment's own variants and rules produce"
                )
        found = np.stack([self.columns[name] for name in names], 1)
        found = found[~np.isnan(found).any(1)]
        if not len(found):
            raise NotMeasuredError(f"no item has all of {', '.join(names)}")
        return found


Measure = Callable[[Evidence], Measurement]
CLAIMS: dict[str, Measure] = {}
"""Functions that measure claims, by id, which is the function's name."""


def claim(function: Measure) -> Measure:
    """Register a function as the measure of the claim of its name."""
    CLAIMS[function.__name__] = function
    return function


NEEDS: dict[str, Callable[[Network, Mapping[str, Any]], None]] = {}
"""By the claim's id: a check that refuses a run, before any work, if the claim could not be measured."""


def needs(check: Callable[[Network, Mapping[str, Any]], None]) -> Callable[[Measure], Measure]:
    """Register `check(network, techniques)`, which raises DeepInsideError if the claim could not be measured."""

    def register(function: Measure) -> Measure:
        NEEDS[function.__name__] = check
        return function

    return register


def check_measurable(names: tuple[str, ...], network: Network, techniques: Mapping[str, Any]) -> None:
    """Refuse, before any work, claims that could not be measured with this network and these techniques."""
    for name in names:
        if name in NEEDS:
            NEEDS[name](network, techniques)


def check_known(names: tuple[str, ...]) -> None:
    """Refuse an unknown claim before any work."""
    for name in names:
        if name not in CLAIMS:
            raise DeepInsideError(f"claims: unknown claim {name!r}; known claims are {', '.join(sorted(CLAIMS))}.")


def evaluate(name: str, evidence: Evidence) -> Claim:
    """Measure a claim and judge it. Raises NotMeasuredError if the run cannot tell."""
    stated, measured = statements()[name], CLAIMS[name](evidence)
    estimate = float(measured.statistic(measured.values))
    seed = int.from_bytes(hashlib.sha256(f"{evidence.seeds.seed}/{name}".encode()).digest()[:8], "big")
    interval = None if measured.exact else confidence_interval(measured.values, measured.statistic, seed)
    return Claim(
        id=name, source=stated.source, claim=stated.claim, measure=stated.measure, estimate=estimate, interval=interval,
        n=len(measured.values), unit=stated.unit, direction=stated.direction, threshold=stated.threshold,
        verdict=verdict(stated, measured, estimate, interval), exact=measured.exact, reason=stated.reason,
    )  # fmt: skip


def near(stated: Statement, values: Values) -> Verdict:
    """`holds` if the mean of (units,) values is at most two standard errors from the paper's number.

    The standard errors combine: |mean − threshold| ≤ 2·√(standard_error² + deviation²/n).
    """
    if len(values) < LEAST_UNITS:
        return "inconclusive"
    reach = 2 * math.hypot(stated.standard_error, values.std(ddof=1) / math.sqrt(len(values)))
    return "holds" if abs(values.mean() - stated.threshold) <= reach else "fails"


def verdict(stated: Statement, measured: Measurement, estimate: float, interval: Interval | None) -> Verdict:
    """`holds` or `fails` if the interval is entirely on one side of the threshold, else `inconclusive`; see `near`."""
    if stated.direction == "≈":
        return near(stated, measured.values[:, 0])
    if interval is None and not measured.exact:
        return "inconclusive"
    sides = {MEETS[stated.direction](bound, stated.threshold) for bound in interval or (estimate,)}
    if len(sides) == 2:
        return "inconclusive"
    return "holds" if sides.pop() else "fails"
