"""Prints what a run found: sentences; with `--verbose` also every number."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deepinside.console import loading
from deepinside.console.claims import MARKS, count_text, estimate_text, threshold_text

MOST = 5
"""Lines on what the images show."""


class Screen(Console):
    """A console that ignores a closed pipe, as with `| head`, so that the run continues."""

    def print(self, *told: Any, **options: Any) -> None:
        loading.end()
        super().print(*told, **options)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


SCREEN = Screen(highlight=False, soft_wrap=True, emoji=False)
if not SCREEN.is_terminal:
    SCREEN.width = 180  # a log has no width, and most claims fit


def print_run(folder: Path, found: Mapping[str, Any], verbosity: str = "normal", position: str = "") -> None:
    """Print what a run found; nothing if `quiet`.

    `position` names the run within a sweep, as in `[7/21] fig2_saliency`; such a run gets one line unless `verbose`.
    """
    if verbosity == "quiet":
        return
    if position and verbosity == "normal":
        SCREEN.print(f"{position} {outcome(found)}", markup=False)
        return
    for line in run_lines(folder, found):
        SCREEN.print(line, markup=False)
    if verbosity == "verbose":
        print_numbers(found)


def outcome(found: Mapping[str, Any]) -> str:
    """A run of a sweep in a few words, as in `✓ 0.2 s, 1 claim fails`."""
    failed = sum(claim["verdict"] == "fails" for claim in found["claims"])
    parts = [f"✓ {took(found)}"]
    parts += [f"{failed} claim{' fails' if failed == 1 else 's fail'}"] if failed else []
    parts += [f"{len(found['skipped'])} unreadable: {found['skipped'][0]['name']}"] if found["skipped"] else []
    return ", ".join(parts)


def took(found: Mapping[str, Any]) -> str:
    return "already done" if found.get("skipped_as_done") else f"{found['seconds']:.1f} s"


def run_lines(folder: Path, found: Mapping[str, Any]) -> Iterator[str]:
    """The run, what it found, verdicts, notes, and where its figure is."""
    yield " · ".join([found["experiment"], found["network"], size(found), took(found)])
    yield from (f"  {line}" for line in sightings(found))
    yield from (f"  {verdict(claim)}" for claim in found["claims"])
    yield from (f"  note: {note}" for note in found.get("notes", []))
    yield from (f"  skipped {skipped['name']}: {skipped['reason']}" for skipped in found["skipped"])
    if found.get("skipped_as_done"):
        yield "  nothing to do; runtime.overwrite=true computes it again"
    figure = folder / "figure.png"
    yield f"figure: {figure}" if figure.is_file() else f"result: {folder}"


def size(found: Mapping[str, Any]) -> str:
    """The number of images, or of items if there are several per image."""
    predictions = found.get("predictions", {})
    complete = len(predictions) == found.get("count", 0) > 0
    count = len({one["image"] for one in predictions.values()}) if complete else found.get("count", 0)
    return f"{count} {'image' if complete else 'item'}{'' if count == 1 else 's'}"


def sightings(found: Mapping[str, Any]) -> list[str]:
    """What the network sees in the images, in at most `MOST` lines."""
    lines = list(dict.fromkeys(one["sentence"] for one in found.get("predictions", {}).values()))
    right, further = found.get("right") or {"of": 0}, found.get("count", 0) > len(lines) or len(lines) > MOST
    if right["of"] > 1 and further:
        lines = [*lines[: MOST - 1], f"… {right['right']} of {right['of']} with a known class are right"]
    elif len(lines) > MOST:
        lines = [*lines[: MOST - 1], f"… and {len(lines) - MOST + 1} more"]
    return lines


def verdict(claim: Mapping[str, Any]) -> str:
    """A claim's verdict as a sentence."""
    measured = f"{estimate_text(claim)}, {count_text(claim)}, expected {threshold_text(claim)}"
    return f"{MARKS[claim['verdict']]} {claim['verdict']}: {claim['claim']} ({measured})"


def print_numbers(found: Mapping[str, Any]) -> None:
    """Print every metric, and the table by group."""
    for name, value in found["metrics"].items():
        SCREEN.print(f"  {name} {value:.4g}", markup=False)
    if found.get("by_group"):
        SCREEN.print(groups_table(found["by_group"]))


def groups_table(by_group: Mapping[str, Mapping[str, float]]) -> Table:
    """One row per metric, one column per group of items."""
    table = Table("mean of", *by_group, title="By group")
    for name in dict.fromkeys(name for values in by_group.values() for name in values):
        cells = [f"{values[name]:.4g}" if name in values else "" for values in by_group.values()]
        table.add_row(name, *cells)
    return table


def tally(verdicts: Iterable[tuple[str, str]]) -> str:
    """As in `13 of 16 hold; 2 inconclusive; 1 fails: SENTENCE`. Each claim with its verdict or `not measured`."""
    claims: dict[str, list[str]] = {}
    for said, word in verdicts:
        claims.setdefault(word, []).append(said)
    count = {word: len(said) for word, said in claims.items()}
    left = count.pop("not measured", 0)
    parts = [f"{count.get('holds', 0)} of {sum(count.values())} hold"]
    parts += [f"{count['inconclusive']} inconclusive"] if "inconclusive" in count else []
    parts += [f"{left} not measured"] if left else []
    failed = claims.get("fails", [])
    parts += [f"{len(failed)} fail{'s' if len(failed) == 1 else ''}: {'; '.join(failed)}"] if failed else []
    return "; ".join(parts)
