"""The papers' claims as code: each is a small function with a source, a number and a verdict.

Claims that do not hold are reported with their numbers. There is one module for each paper. All are imported here, so
that they are registered.
"""

from deepinside.claims import adebayo, mahendran, simonyan
from deepinside.claims.registry import CLAIMS, Evidence, NotMeasuredError, check_known, check_measurable

__all__ = [
    "CLAIMS",
    "Evidence",
    "NotMeasuredError",
    "adebayo",
    "check_known",
    "check_measurable",
    "mahendran",
    "simonyan",
]
