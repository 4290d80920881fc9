"""A claim's numbers in words."""

from disk import CLAIM

from deepinside.console.claims import because, count_text, estimate_text, expected_text


def test_a_claim_in_words() -> None:
    assert estimate_text(CLAIM) == "2.5 [2.25, 2.75]"
    assert estimate_text({**CLAIM, "interval": None}) == "2.5"
    assert estimate_text({**CLAIM, "interval": None, "exact": True, "estimate": 0.0}) == "0 (exact)"
    assert expected_text(CLAIM) == "order ≥ 1.5"
    assert count_text(CLAIM) == "9 photos"
    assert count_text({**CLAIM, "n": 1}) == "1 photo"
    assert count_text({**CLAIM, "unit": "class", "n": 12}) == "12 classes"


def test_a_verdict_says_why() -> None:
    assert because(CLAIM) == "Measured: 2.5 [2.25, 2.75], 9 photos; expected ≥ 1.5."
    unclear = {**CLAIM, "verdict": "inconclusive"}
    assert because(unclear).endswith("The interval includes the threshold.")
    assert because({**unclear, "interval": None, "n": 2}).endswith("There are too few for an interval.")
