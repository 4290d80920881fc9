"""The papers' claims: each is a function that measures a number, and an entry in `configs/claims.yaml` with the
statement and the threshold. One module per paper.

Importing this package registers all claims. Claims that fail are reported with their numbers.
"""

from deepinside.claims import adebayo, deconvnet, mahendran, simonyan, szegedy
from deepinside.claims.registry import (
    CLAIMS,
    Evidence,
    Measurement,
    NotMeasuredError,
    Statement,
    check_known,
    check_measurable,
    evaluate,
    statements,
)

__all__ = [
    "CLAIMS",
    "Evidence",
    "Measurement",
    "NotMeasuredError",
    "Statement",
    "adebayo",
    "check_known",
    "check_measurable",
    "deconvnet",
    "evaluate",
    "mahendran",
    "simonyan",
    "statements",
    "szegedy",
]
