"""The papers' claims: each is a function that measures a number and returns a verdict. One module per paper.

Importing this package registers all claims. Claims that fail are reported with their numbers.
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
