"""Claims of Adebayo et al. 2018, "Sanity Checks for Saliency Maps", as code."""

from deepinside.claims.registry import Evidence, Measurement, claim


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
