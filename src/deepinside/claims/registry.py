"""The registry of claims: an experiment names those it shows, the pipeline measures them at the end of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.types import Claim, ImageBatch, Seeds


class NotMeasuredError(Exception):
    """Raised by a claim that the run's photos cannot tell, as where nobody marked the objects; says why, without a
    full stop. The run is whole without it."""


@dataclass(frozen=True)
class Evidence:
    """What a claim is measured on: the network, the run's first batch of photos, and its numbers.

    `techniques` are the run's variants by name; `metrics` are the means over all items, `by_group` those of every
    group of items. `blank` says that some maps tell nothing; the numbers leave them out.
    """

    network: Network
    batch: ImageBatch
    seeds: Seeds
    techniques: Mapping[str, Any]
    metrics: Mapping[str, float]
    by_group: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    blank: bool = False

    def metric(self, name: str) -> float:
        """One of the run's metrics; raises NotMeasuredError where the run has none of that name, which may be
        so because no map tells anything."""
        if name not in self.metrics and self.blank:
            raise NotMeasuredError(f"no map that {name} needs tells anything (zero everywhere or constant)")
        if name not in self.metrics:
            raise NotMeasuredError(
                f"it needs the metric {name}, which a run has with the experiment's own variants and rules"
            )
        return self.metrics[name]


CLAIMS: dict[str, Callable[[Evidence], Claim]] = {}
"""Every claim by its id, which is its function's name."""


def claim(function: Callable[[Evidence], Claim]) -> Callable[[Evidence], Claim]:
    """Make a function known as the claim of its name."""
    CLAIMS[function.__name__] = function
    return function


NEEDS: dict[str, Callable[[Network, Mapping[str, Any]], None]] = {}
"""What refuses a run, before any work, on which a claim could not be measured; by the claim's id."""


def needs(
    check: Callable[[Network, Mapping[str, Any]], None],
) -> Callable[[Callable[[Evidence], Claim]], Callable[[Evidence], Claim]]:
    """Have `check(network, techniques)` raise DeepInsideError where the claim could not be measured in the end."""

    def remembered(function: Callable[[Evidence], Claim]) -> Callable[[Evidence], Claim]:
        NEEDS[function.__name__] = check
        return function

    return remembered


def check_measurable(names: tuple[str, ...], network: Network, techniques: Mapping[str, Any]) -> None:
    """Refuse claims that this network and these techniques could not tell, before any work."""
    for name in names:
        if name in NEEDS:
            NEEDS[name](network, techniques)


def check_known(names: tuple[str, ...]) -> None:
    """Refuse a claim that is not there before any work."""
    for name in names:
        if name not in CLAIMS:
            raise DeepInsideError(f"claims: no claim is called {name!r}; known are {', '.join(sorted(CLAIMS))}.")
