"""Claims of Szegedy et al. 2013, "Intriguing properties of neural networks", on fooling images, as code."""

from deepinside.claims.registry import Evidence, Measurement, claim
from deepinside.metrics.intervals import share


@claim
def every_photo_can_be_fooled(evidence: Evidence) -> Measurement:
    """Whether each photo's fooling image, in eight bits, is classified as the class that was drawn."""
    return Measurement(evidence.values("random/success"), share)


@claim
def fooling_takes_a_small_change(evidence: Evidence) -> Measurement:
    """Root mean square of the change that fools the network, or of what was reached, in intensities, by photo."""
    return Measurement(evidence.values("random/rms_change"))
