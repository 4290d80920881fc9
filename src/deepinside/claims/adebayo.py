"""Claims of Adebayo et al. 2018, "Sanity Checks for Saliency Maps", and of the test's critics, as code."""

import numpy as np

from deepinside.claims.registry import Evidence, Measurement, NotMeasuredError, claim
from deepinside.claims.simonyan import difference
from deepinside.metrics.intervals import Values
from deepinside.techniques.randomisation import Randomisation


@claim
def gradient_passes_randomisation(evidence: Evidence) -> Measurement:
    """Rank correlation of the gradient map with the trained network's, mean over randomisation stages and photos."""
    return Measurement(evidence.values("gradient/rank_correlation_mean"))


@claim
def gradient_changes_with_the_top_layer(evidence: Evidence) -> Measurement:
    """Rank correlation of the gradient map with the trained network's after randomising the top layer alone."""
    return Measurement(evidence.values("gradient/rank_correlation_top"))


@claim
def guided_fails_randomisation(evidence: Evidence) -> Measurement:
    """Rank correlation of the guided back-propagation map with the trained network's, mean as above."""
    return Measurement(evidence.values("guided/rank_correlation_mean"))


@claim
def guided_passes_from_the_bottom(evidence: Evidence) -> Measurement:
    """Rank correlation of the guided map with the trained network's, mean over stages from the photo up."""
    return Measurement(evidence.values("bottom_up/guided/rank_correlation_mean"))


@claim
def top_down_order_preserves_guided_maps(evidence: Evidence) -> Measurement:
    """The same from the top down minus that from the photo up."""
    return difference(evidence, "top_down/guided/rank_correlation_mean", "bottom_up/guided/rank_correlation_mean")


@claim
def noise_lowers_similarity(evidence: Evidence) -> Measurement:
    """Rank correlation of gradient maps averaged over noise, from the top down, minus that of single maps."""
    return difference(evidence, "smprt/gradient/rank_correlation_mean", "top_down/gradient/rank_correlation_mean")


@claim
def gradient_rises_in_entropy(evidence: Evidence) -> Measurement:
    """The rise of the gradient map's entropy when all layers are random, relative to the trained network's."""
    return Measurement(evidence.values("top_down/gradient/entropy_rise_all"))


@claim
def entropy_test_ranks_gradient_above_guided(evidence: Evidence) -> Measurement:
    """The same minus the rise of the guided map's entropy, of the same photo."""
    gradient, guided = (by_photo(evidence, f"top_down/{rule}/entropy_rise_all") for rule in ("gradient", "guided"))
    found = gradient - guided
    found = found[~np.isnan(found)]
    if not len(found):
        raise NotMeasuredError("no photo has both maps")
    return Measurement(found[:, None])


def by_photo(evidence: Evidence, name: str) -> Values:
    """(photos,): a metric that one of each photo's items has; NaN where its map is blank. The items are one a rule."""
    evidence.values(name)  # refuses a run that has none
    technique = next(iter(evidence.techniques.values()), None)
    rules = len(technique.rules) if isinstance(technique, Randomisation) else 1
    return np.fmax.reduce(evidence.columns[name].reshape(-1, rules), 1)
