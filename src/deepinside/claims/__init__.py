"""The papers' statements as code: each a small function with a source, a number and a verdict.

A claim that does not hold on a network is reported so, with its number. One module a paper; all are imported here,
so that they are known by name.
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
