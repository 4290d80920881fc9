"""The registry of claims. An experiment lists its claims; the pipeline measures them at the end of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.types import Claim, ImageBatch, Seeds


class NotMeasuredError(Exception):
    """Raised when a claim cannot be evaluated, for example without box annotations. The run succeeds without it. The
    message gives the reason, without a full stop."""


@dataclass(frozen=True)
class Evidence:
    """The inputs of a claim: the network, the run's first batch of photos, and its metrics.

    `techniques` are the run's variants by name; `metrics` are means over all items, `by_group` means over each group of
    items. `blank` is true if some maps are blank; the metrics leave these out.
    """

    network: Network
    batch: ImageBatch
    seeds: Seeds
    techniques: Mapping[str, Any]
    metrics: Mapping[str, float]
    by_group: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    blank: bool = False

    def metric(self, name: str) -> float:
        """One of the run's metrics. Raises NotMeasuredError if the run has no such metric, for example because all maps
        are blank."""
        if name not in self.metrics and self.blank:
            raise NotMeasuredError(f"all maps that {name} needs are blank (zero everywhere or constant)")
        if name not in self.metrics:
            raise NotMeasuredError(
                f"it needs the metric {name}, which only the experiment's own variants and rules produce"
            )
        return self.metrics[name]


CLAIMS: dict[str, Callable[[Evidence], Claim]] = {}
"""Claims by id, which is the function's name."""


def claim(function: Callable[[Evidence], Claim]) -> Callable[[Evidence], Claim]:
    """Register a function as the claim of its name."""
    CLAIMS[function.__name__] = function
    return function


NEEDS: dict[str, Callable[[Network, Mapping[str, Any]], None]] = {}
"""By the claim's id: a check that refuses a run, before any work, if the claim could not be measured."""


def needs(
    check: Callable[[Network, Mapping[str, Any]], None],
) -> Callable[[Callable[[Evidence], Claim]], Callable[[Evidence], Claim]]:
    """Register `check(network, techniques)`, which raises DeepInsideError if the claim could not be measured."""

    def register(function: Callable[[Evidence], Claim]) -> Callable[[Evidence], Claim]:
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
