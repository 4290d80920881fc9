"""`make bench`, `make bench-check`: run, check, markdown, list."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Threads that wait by spinning take far longer where anything else runs besides. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from rich.console import Console

from bench import floors, growth, machine, peers, report
from bench.timing import QUICK, Patience
from bench.workloads import chosen, workloads

PRODUCT_SIZE = 2048


def main(words: Sequence[str] | None = None) -> int:
    """The command line; the exit code is 0 only if every number agreed and no floor was broken."""
    asked = parser().parse_args(words)
    if asked.command == "list":
        print("\n".join(workloads(asked.network)))
        return 0
    if asked.command == "markdown":
        text = report.markdown(report.load(asked.folder))
        print(text, end="") if asked.into is None else report.insert(text, asked.into)
        return 0
    torch.set_num_threads(asked.threads)
    return run(asked) if asked.command == "run" else check(asked)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench", description="How fast deepinside is beside its peers.")
    made.add_argument("command", choices=("run", "check", "markdown", "list"))
    made.add_argument("--only", help="patterns of workloads' names, comma-separated; long ones run by name only")
    made.add_argument(
        "--network", type=lambda words: words.split(","), default=[],
        help="networks to measure instead, comma-separated: names as network= takes them, or YAML files",
    )  # fmt: skip
    made.add_argument("--seconds", type=float, default=15, help="for each workload (15)")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="as many as there are cores")
    made.add_argument("--folder", type=Path, default=report.FOLDER, help=f"{report.FOLDER}")
    made.add_argument("--into", type=Path, help="markdown: the page between whose marks the table goes")
    made.add_argument("--quick", action="store_true", help="two rounds, to see whether it works: no times to believe")
    return made


def patience(asked: argparse.Namespace) -> Patience:
    return QUICK if asked.quick else Patience(seconds=asked.seconds)


def screen() -> Console:
    """The console, wide enough for the tables wherever its lines go."""
    console = Console()
    console.width = max(console.width, 118)
    return console


def run(asked: argparse.Namespace) -> int:
    """Measure, and leave the table on the screen and JSON and picture in the folder."""
    console = screen()
    here = machine.describe(asked.threads)
    console.print(machine.sentence(here))
    product = machine.product(256 if asked.quick else PRODUCT_SIZE)
    found = {}
    for name, build in chosen(asked.only, asked.network).items():
        found[name] = build().record(patience(asked), product)
        report.show(name, found[name], console)
        record = {"machine": here, "peers": peers.versions(), "workloads": found}
        record = report.save(record, asked.folder)
    if not found:
        sys.exit(f"bench: expected workloads matching {asked.only!r}; known: {', '.join(workloads(asked.network))}")
    draw(record, asked.folder)
    disagree = [name for name, work in found.items() if not all(way["agrees"] for way in work["ways"].values())]
    console.print(f"Written to {asked.folder}. " + (f"Numbers differ in {', '.join(disagree)}." if disagree else ""))
    return 1 if disagree else 0


def draw(record: report.Record, folder: Path) -> None:
    """The pictures: ratios, and growth where it was measured."""
    works = record["workloads"]
    if any(report.others(work) for work in works.values()):
        report.draw(record, folder / "bench.png")
    grown = {name: work for name, work in works.items() if "counts" in work}
    if grown:
        growth.draw(grown, folder / "growth.png")


def check(asked: argparse.Namespace) -> int:
    """Measure what has a floor; a workload below it is measured once more, for longer, before it counts."""
    console, wrong = screen(), []
    product = machine.product(512)
    for name, wanted in floors.read().items():
        for build in chosen(name).values() if asked.only in (None, name) else ():
            work = build().record(patience(asked), product)
            if floors.broken(name, work, wanted) and not asked.quick:
                work = build().record(Patience(seconds=3 * asked.seconds), product)
            report.show(name, work, console)
            wrong += floors.broken(name, work, wanted)
    console.print("\n".join(wrong) or "No ratio fell below its floor.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
