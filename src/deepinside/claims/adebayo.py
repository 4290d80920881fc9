"""Claims of Adebayo et al. 2018, "Sanity Checks for Saliency Maps", as code."""

from deepinside.claims.registry import Evidence, claim
from deepinside.types import Claim

SOURCE = "Adebayo et al. 2018, Fig. 2 and 3"
SIMILAR = 0.5
"""Maps with a lower rank correlation count as different; set before measuring."""


@claim
def gradient_passes_randomisation(evidence: Evidence) -> Claim:
    """Mean rank correlation of the gradient map with the trained network's, over randomisation stages and photos."""
    found = evidence.metric("gradient/rank_correlation_mean")
    return Claim(
        "gradient_passes_randomisation",
        SOURCE,
        "the gradient map passes the randomisation test: it depends on the learnt weights",
        found,
        f"rank correlation ≤ {SIMILAR}",
        found <= SIMILAR,
    )


@claim
def guided_fails_randomisation(evidence: Evidence) -> Claim:
    """Mean rank correlation of the guided back-propagation map with the trained network's."""
    found = evidence.metric("guided/rank_correlation_mean")
    return Claim(
        "guided_fails_randomisation",
        SOURCE,
        "guided back-propagation fails the randomisation test: its map hardly depends on the learnt weights",
        found,
        f"rank correlation ≥ {SIMILAR}",
        found >= SIMILAR,
    )
