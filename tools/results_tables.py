"""Tables that the README and docs show, made from results so that they cannot say what was not measured.

    python tools/results_tables.py                      the claims table of README.md, from results/reference, and the
                                                        metrics of docs/glossary.md, which the report shows as tooltips
    python tools/results_tables.py --check              say whether it is current
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
GLOSSARY = ROOT / "docs" / "glossary.md"
METRICS = ROOT / "src" / "deepinside" / "html_report" / "metrics.yaml"
TIMINGS = ROOT / "docs" / "timings.md"
REFERENCE = ROOT / "results" / "reference"


# ---- claims ----------------------------------------------------------------------------------------------------------


def claims_table(reference: Path = REFERENCE) -> str:
    """One row a claim: what the paper says, the threshold, the estimate with its interval, n and the verdict."""
    lines = ["| the paper says | source | expected | measured [95 %] | n | |", "| --- | --- | --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(claim_row(claim)) + " |" for claim in claims(reference)]
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


# ---- timings ---------------------------------------------------------------------------------------------------------


def timings_table(results: Path) -> str:
    """One row an experiment: seconds by the record of its run."""
    lines = ["| experiment | seconds |", "| --- | --- |"]
    lines += [f"| [{name}](../experiments/{name}.yaml) | {seconds:.0f} |" for name, seconds in sorted(timed(results))]
    return "\n".join(lines) + "\n"


def timed(results: Path) -> Iterator[tuple[str, float]]:
    """The experiments in a results folder with the seconds of their runs; a sweep counts all of its runs."""
    for folder in sorted(path for path in results.iterdir() if (path / "tinycaffenet").is_dir()):
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("tinycaffenet/*/metrics.json")]
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


def is_current() -> bool:
    made = ((README, "claims", claims_table()), (GLOSSARY, "metrics", metrics_table()))
    pages = [(path.read_text(encoding="utf-8"), name, text) for path, name, text in made]
    return all(page == inserted(page, name, text) for page, name, text in pages)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--timings", type=Path, metavar="RESULTS")
    asked = parser.parse_args(arguments)
    if asked.check:
        print(f"README.md and docs/glossary.md are {'current' if is_current() else 'out of date; run `make docs`'}")
        return 0 if is_current() else 1
    if asked.timings:
        write(TIMINGS, "timings", timings_table(asked.timings))
    else:
        write(README, "claims", claims_table())
        write(GLOSSARY, "metrics", metrics_table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
