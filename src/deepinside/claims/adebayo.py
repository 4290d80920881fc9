"""Claims of Adebayo et al. 2018, "Sanity Checks for Saliency Maps", as code."""

from deepinside.claims.registry import Evidence, claim
from deepinside.types import Claim

SOURCE = "Adebayo et al. 2018, Fig. 2 and 3"
ALIKE = 0.5
"""The limit of the rank correlation below which maps count as different, set before measuring."""


@claim
def gradient_passes_randomisation(evidence: Evidence) -> Claim:
    """Rank correlation with the trained network's gradient map, mean over the stages of randomisation and photos."""
    found = evidence.metric("gradient/rank_correlation_mean")
    return Claim(
        "gradient_passes_randomisation",
        SOURCE,
        "gradient maps pass the randomisation test: without the learnt weights the map is another one",
        found,
        f"rank correlation ≤ {ALIKE}",
        found <= ALIKE,
    )


@claim
def guided_fails_randomisation(evidence: Evidence) -> Claim:
    """The same number for guided back-propagation."""
    found = evidence.metric("guided/rank_correlation_mean")
    return Claim(
        "guided_fails_randomisation",
        SOURCE,
        "guided back-propagation fails the randomisation test: its map stays alike as the weights are lost",
        found,
        f"rank correlation ≥ {ALIKE}",
        found >= ALIKE,
    )
