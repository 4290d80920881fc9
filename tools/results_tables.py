"""Tables that the README and docs show, made from results so that they cannot say what was not measured.

    python tools/results_tables.py                      the claims of README.md and docs/claims.md and the table of
                                                        docs/inversion.md, from results/reference, and the metrics of
                                                        docs/glossary.md, which the report shows as tooltips
    python tools/results_tables.py --check              say whether they are current
    python tools/results_tables.py --timings RESULTS    docs/timings.md, from the results of `make reproduce`

`make docs` runs the first, `make timings` the last.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deepinside.console.claims import count_text, estimate_text, expected_text

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CLAIMS = ROOT / "docs" / "claims.md"
GLOSSARY = ROOT / "docs" / "glossary.md"
METRICS = ROOT / "src" / "deepinside" / "html_report" / "metrics.yaml"
TIMINGS = ROOT / "docs" / "timings.md"
INVERSION = ROOT / "docs" / "inversion.md"
REFERENCE = ROOT / "results" / "reference"
NETWORKS = ("tinycaffenet", "hog_sift")
"""Those of `make reproduce`."""
PAPERS = ("Simonyan et al. 2013", "Mahendran & Vedaldi 2014")
"""The papers whose claims the README shows; docs/claims.md has all."""


# ---- claims ----------------------------------------------------------------------------------------------------------


def claims_table(reference: Path = REFERENCE, papers: tuple[str, ...] = ("",)) -> str:
    """One row a claim: what the paper says, the threshold, the estimate with its interval, n and the verdict.

    Only claims whose source begins with one of `papers`.
    """
    lines = ["| the paper says | source | expected | measured [95 %] | n | |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        "| " + " | ".join(claim_row(claim)) + " |" for claim in claims(reference) if claim["source"].startswith(papers)
    ]
    return "\n".join(lines) + "\n"


def claims(reference: Path) -> list[Mapping[str, Any]]:
    """Every claim of the committed results, by paper; one measured by several experiments has several rows."""
    found: dict[tuple[str, float], Mapping[str, Any]] = {}
    for path in sorted(reference.glob("*.json")):
        for claim in json.loads(path.read_text(encoding="utf-8"))["claims"]:
            found.setdefault((claim["id"], claim["estimate"]), claim)
    return sorted(found.values(), key=lambda claim: (claim["source"], claim["id"], claim["verdict"]))


def claim_row(claim: Mapping[str, Any]) -> Iterator[str]:
    yield claim["claim"]
    yield claim["source"]
    yield expected_text(claim)
    yield estimate_text(claim)
    yield count_text(claim)
    yield claim["verdict"] if claim["verdict"] == "holds" else f"**{claim['verdict']}**"


# ---- metrics ---------------------------------------------------------------------------------------------------------


def metrics_table() -> str:
    """One row a metric: its technique and its definition."""
    rows = yaml.safe_load(METRICS.read_text(encoding="utf-8"))
    lines = ["| metric | technique | definition |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {row['technique']} | {row['definition']} |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


# ---- Table 1 of Mahendran & Vedaldi ----------------------------------------------------------------------------------


REPRESENTATIONS = {
    "hog_error": ("HOG", "28 % ± 8 %"),
    "hogb_error": ("HOGb", "11 % ± 5 %"),
    "dsift_error": ("dense SIFT", "11 % ± 8 %"),
}
"""The claims on hand-made representations, and what the paper prints: mean and deviation over 100 photos."""


def table_one(reference: Path = REFERENCE) -> str:
    """One row a representation: the paper's error, that of the committed results with its interval, and the verdict."""
    run = json.loads((reference / "mahendran_table1.json").read_text(encoding="utf-8"))
    found = {claim["id"]: claim for claim in run["claims"]}
    lines = [
        "| | the paper | here, with 95 % interval | n | within two standard errors |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (words, printed) in REPRESENTATIONS.items():
        claim = found[name]
        low, high = (100 * bound for bound in claim["interval"])
        here = f"{100 * claim['estimate']:.1f} % [{low:.1f} %, {high:.1f} %]"
        lines.append(f"| {words} | {printed} | {here} | {claim['n']} | {claim['verdict']} |")
    return "\n".join(lines) + "\n"


# ---- timings ---------------------------------------------------------------------------------------------------------


def timings_table(results: Path) -> str:
    """One row an experiment: seconds by the record of its run."""
    lines = ["| experiment | seconds |", "| --- | --- |"]
    lines += [f"| [{name}](../experiments/{name}.yaml) | {seconds:.0f} |" for name, seconds in sorted(timed(results))]
    return "\n".join(lines) + "\n"


def timed(results: Path) -> Iterator[tuple[str, float]]:
    """The experiments in a results folder with the seconds of their runs; a sweep counts all of its runs."""
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        found = [path for network in NETWORKS for path in folder.glob(f"{network}/*/metrics.json")]
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in found]
        if runs:
            yield folder.name, sum(run["seconds"] for run in runs)


# ---- where they go ---------------------------------------------------------------------------------------------------


def inserted(page: str, name: str, text: str) -> str:
    """A page with `text` between its marks `<!-- name -->` and `<!-- /name -->`."""
    before, start, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not (start and end):
        raise ValueError(f"expected the marks <!-- {name} --> and <!-- /{name} -->, found none")
    return f"{before}{start}{text}{end}{after}"


def write(path: Path, name: str, text: str) -> None:
    path.write_text(inserted(path.read_text(encoding="utf-8"), name, text), encoding="utf-8")
    print(f"{path.relative_to(ROOT)} is written")


def tables() -> Iterator[tuple[Path, str, str]]:
    """The tables: page, name of the marks, text."""
    yield README, "claims", claims_table(papers=PAPERS)
    yield CLAIMS, "claims", claims_table()
    yield INVERSION, "table1", table_one()
    yield GLOSSARY, "metrics", metrics_table()


def outdated() -> list[str]:
    """The pages whose table is not current."""
    pages = [(path, path.read_text(encoding="utf-8"), name, text) for path, name, text in tables()]
    return [path.name for path, page, name, text in pages if page != inserted(page, name, text)]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--timings", type=Path, metavar="RESULTS")
    asked = parser.parse_args(arguments)
    if asked.check:
        print("\n".join(f"{name} is out of date; run `make docs`" for name in outdated()) or "all tables are current")
        return 1 if outdated() else 0
    if asked.timings:
        write(TIMINGS, "timings", timings_table(asked.timings))
    else:
        for path, name, text in tables():
            write(path, name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
