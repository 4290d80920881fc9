"""The table of claims by network, from runs made by hand."""

from typing import Any

from deepinside.html_report.claim_table import claim_table, networks
from deepinside.html_report.runs import Change, Run


def claim(name: str, measured: float, *, holds: bool) -> dict[str, Any]:
    return {
        "id": name,
        "claim": f"{name} is so",
        "source": "S",
        "expected": "> 0",
        "measured": measured,
        "holds": holds,
    }


def run(folder: str, *claims: dict[str, Any], **values: Any) -> Run:
    experiment, network, _ = folder.split("/")
    words = {"experiment": experiment, "network": network, "status": "done", **values}
    return Run(folder=folder, stamp="", claims=list(claims), **words)


def test_a_claim_has_a_row_and_every_network_a_column() -> None:
    rows = claim_table(
        [
            run("a/small/default", claim("c", 1, holds=True), claim("d", 2, holds=False)),
            run("a/large/default", claim("c", -1, holds=False)),
            run("a/broken/default", claim("c", 9, holds=True), status="failed"),
        ]
    )
    assert networks(rows) == ["large", "small"]
    assert [(row.id, row.claim, row.source, row.expected) for row in rows] == [
        ("c", "c is so", "S", "> 0"),
        ("d", "d is so", "S", "> 0"),
    ]
    assert {name: (cell.measured, cell.verdict) for name, cell in rows[0].cells.items()} == {
        "small": (1, "holds"),
        "large": (-1, "does not hold"),
    }
    assert list(rows[1].cells) == ["small"]
    assert rows[0].facets == [("Experiment", "a"), ("Verdict", "holds"), ("Verdict", "does not hold")]


def test_runs_on_ones_own_images_have_rows_of_their_own() -> None:
    mine = run("a/n/images.root=mine", claim("c", 0, holds=False), changes=[Change("images.root", "mine")])
    rows = claim_table([run("a/n/default", claim("c", 1, holds=True)), mine])
    assert [(row.label, row.cells["n"].measured) for row in rows] == [("", 1), ("root=mine", 0)]


def test_a_claim_that_was_not_measured_says_so_and_why() -> None:
    notes = ["The claim c is not measured: nobody has marked the objects.", "another note"]
    (row,) = claim_table([run("a/n/default", notes=notes), run("a/m/default", claim("c", 1, holds=True))])
    assert (row.cells["n"].verdict, row.cells["n"].reason) == ("not measured", "nobody has marked the objects")
    assert row.verdicts == ["holds"]
    assert row.claim == "c is so"
