"""The table of claims by network, from runs made by hand."""

from typing import Any

from disk import CLAIM

from deepinside.html_report.claim_table import claim_table, networks
from deepinside.html_report.runs import Change, Run


def claim(name: str, estimate: float, verdict: str = "holds") -> dict[str, Any]:
    return {**CLAIM, "id": name, "claim": f"{name} is so", "source": "S", "estimate": estimate, "verdict": verdict}


def run(folder: str, *claims: dict[str, Any], **values: Any) -> Run:
    experiment, network, _ = folder.split("/")
    words = {"experiment": experiment, "network": network, "status": "done", **values}
    return Run(folder=folder, stamp="", claims=list(claims), **words)


def test_a_claim_has_a_row_and_every_network_a_column() -> None:
    rows = claim_table(
        [
            run("a/small/default", claim("c", 1), claim("d", 2, "fails")),
            run("a/large/default", claim("c", -1, "fails")),
            run("a/broken/default", claim("c", 9), status="failed"),
        ]
    )
    assert networks(rows) == ["large", "small"]
    assert [(row.id, row.claim, row.source, row.expected) for row in rows] == [
        ("c", "c is so", "S", "order ≥ 1.5"),
        ("d", "d is so", "S", "order ≥ 1.5"),
    ]
    assert {name: (cell.claim and cell.claim["estimate"], cell.verdict) for name, cell in rows[0].cells.items()} == {
        "small": (1, "holds"),
        "large": (-1, "fails"),
    }
    assert list(rows[1].cells) == ["small"]
    assert rows[0].verdicts == ["holds", "fails"]


def test_runs_on_ones_own_images_have_rows_of_their_own() -> None:
    mine = run("a/n/images.root=mine", claim("c", 0, "fails"), changes=[Change("images.root", "mine")])
    rows = claim_table([run("a/n/default", claim("c", 1)), mine])
    assert [(row.label, row.cells["n"].claim["estimate"]) for row in rows] == [("", 1), ("root=mine", 0)]


def test_a_claim_that_was_not_measured_says_so_and_why() -> None:
    notes = ["The claim c is not measured: nobody has marked the objects.", "another note"]
    (row,) = claim_table([run("a/n/default", notes=notes), run("a/m/default", claim("c", 1))])
    assert (row.cells["n"].verdict, row.cells["n"].reason) == ("not measured", "nobody has marked the objects")
    assert row.verdicts == ["holds"]
    assert row.claim == "c is so"
