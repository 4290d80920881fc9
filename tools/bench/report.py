"""What was measured: on the screen, as JSON, as Markdown for docs/benchmarks.md, and as a picture."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Table

from bench.machine import sentence
from bench.task import OURS

FOLDER = Path("results/bench")
MARKS = ("<!-- bench -->", "<!-- /bench -->")
HEAD = ("way", "time", "deepinside is", "of the matrix product", "numbers")
# Okabe and Ito's colours, which people see apart however they see colours
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")

Record = dict[str, Any]


# ---------------------------------------------------------------------------------------------------- JSON


def save(record: Record, folder: Path = FOLDER) -> Record:
    """Write `bench.json`. What an earlier run on the same machine measured besides stays; returns what is written."""
    path = folder / "bench.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    if before.get("machine") == record["machine"]:
        record = record | {"workloads": before["workloads"] | record["workloads"]}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def load(folder: Path = FOLDER) -> Record:
    return json.loads((folder / "bench.json").read_text())


# ---------------------------------------------------------------------------------------------------- words


def row(way: str, found: Mapping[str, Any], unit: str) -> tuple[str, str, str, str, str]:
    """One way in words: its name, its time, its ratio, its share, and whether its numbers are ours."""
    if "seconds" not in found:
        return way, "not counted", "", "", f"differ by {found['difference']:.0e}"
    ratio, share = found["ratio"], found.get("share_of_product")
    faster = "" if is_own(way, found) else part(ratio) if found.get("part") else spread(ratio)
    numbers = "" if way == OURS or found["difference"] is None else f"equal to {found['difference']:.0e}"
    if "rank_correlation" in found:
        numbers = f"rank correlation {found['rank_correlation']:.4f}"
    return way, f"{duration(found['seconds']['median'])} per {unit}", faster, percent(share), numbers


def is_own(way: str, found: Mapping[str, Any]) -> bool:
    """Whether this is deepinside itself, in one of its precisions."""
    return way == OURS or "gain" in found


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.2f} ms"


def percent(share: Mapping[str, float] | None) -> str:
    return f"{share['median']:.0%}" if share else ""


def rows(work: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for way, found in work["ways"].items():
        yield row(way, found, work["unit"])


def show(name: str, work: Mapping[str, Any], console: Console) -> None:
    """One workload as a table on the screen."""
    table = Table(title=f"{work['title']}  ({name}, {work['rounds']} rounds)", title_justify="left")
    for place, head in enumerate(HEAD):
        table.add_column(head, justify="left" if place in (0, 4) else "right")
    for cells in rows(work):
        table.add_row(*cells)
    if work["ways"]:
        console.print(table)
    else:
        console.print(work["title"])
    for line in notes(work):
        console.print(f"  {line}")


def notes(work: Mapping[str, Any]) -> list[str]:
    approximations = [
        f"{way} is {spread(found['gain'])} as fast as {OURS}; {fidelity(work)}"
        for way, found in work["ways"].items() if "gain" in found
    ]  # fmt: skip
    coarse = max((found.get("tolerance") or 0 for found in work["ways"].values()), default=0)
    if coarse > 1e-3:
        approximations.append(f"float32 itself is off float64 by {coarse / 2:.0e} here: a ReLU input is almost zero")
    parts = [
        f"{way} ({found['why']}) is {part(found['ratio'])}"
        for way, found in work["ways"].items() if found.get("part") and "ratio" in found
    ]  # fmt: skip
    return [*([work["note"]] if work.get("note") else []), *approximations, *parts, *work.get("findings", [])]


def fidelity(work: Mapping[str, Any]) -> str:
    """The rank correlation of our bf16 with float64, and that of the others' bf16, in words."""
    known = [found for found in work["ways"].values() if "rank_correlation" in found]
    ours, theirs = ([f["rank_correlation"] for f in known if ("gain" in f) is own] for own in (True, False))
    others = f" (others in bf16: {min(theirs):.3f} to {max(theirs):.3f})" if theirs else ""
    return f"rank correlation with float64 {ours[0]:.3f}{others}"


def spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} × [{ratio['low']:.2f}–{ratio['high']:.2f}]"


def part(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.0%} [{ratio['low']:.0%}–{ratio['high']:.0%}] of it"


def markdown(record: Record) -> str:
    """The table of docs/benchmarks.md: one line a way that others are measured beside, the machine under it."""
    lines = [
        "| work | compared with | deepinside is | with it in channels-last | time per unit | of the matrix product |",
        "| --- | --- | --- | --- | --- | --- |",
        *(line for work in record["workloads"].values() for line in table_rows(work)),
    ]
    findings = [f"- {work['title']}: {line}" for work in record["workloads"].values() for line in notes(work)]
    under = f"Medians of paired ratios, quartiles in brackets. {sentence(record['machine'])}; measured by `make bench`."
    under += f" {record['note']}" if record.get("note") else ""
    return "\n".join([*lines, "", under, *([""] if findings else []), *findings]) + "\n"


def table_rows(work: Mapping[str, Any]) -> Iterator[str]:
    """One line a way that ours is compared with, with the time and share of ours in the same precision."""
    for way, found in work["ways"].items():
        if is_own(way, found) or found.get("part") or found.get("layout_of"):
            continue
        last = [verdict(other, work) for other, known in work["ways"].items() if known.get("layout_of") == way]
        own = found.get("beside", OURS)
        _, seconds, _, share, _ = row(own, work["ways"][own], work["unit"])
        cells = (work["title"], way, verdict(way, work), *(last or [""]), seconds, share)
        yield f"| {' | '.join(cells)} |"


def verdict(way: str, work: Mapping[str, Any]) -> str:
    """How fast ours is beside that way, or why its time does not count."""
    _, _, faster, _, numbers = row(way, work["ways"][way], work["unit"])
    return f"{faster} as fast" if faster else f"not counted: {numbers}"


def insert(text: str, path: Path) -> None:
    """Put `text` between the marks of a page, in the place of what is there. Raises ValueError where they are not."""
    before, mark, rest = path.read_text().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (mark and end):
        raise ValueError(f"{path}: expected {MARKS[0]} and {MARKS[1]}, found none")
    path.write_text(f"{before}{mark}\n{text}{end}{after}")


# ---------------------------------------------------------------------------------------------------- picture


def draw(record: Record, path: Path) -> None:
    """How many times as long as deepinside in the same precision each other way takes, with quartiles."""
    works = {name: work for name, work in record["workloads"].items() if others(work)}
    bars = sum(len(others(work)) for work in works.values())
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.24 * bars + 0.12 * len(works)), layout="constrained")
    colours = dict(zip(sorted({way for work in works.values() for way in others(work)}), COLOURS * 2, strict=False))
    place, ticks = 0.0, []
    for work in works.values():
        first = place
        for way, found in others(work).items():
            bar(axes, place, found["ratio"], colours[way], way)
            place += 1
        ticks.append(((first + place - 1) / 2, work["title"]))
        place += 0.7
    axes.set_yticks([tick for tick, _ in ticks], [title for _, title in ticks])
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} ×")
    axes.set_xlabel("time beside deepinside's; whiskers: quartiles of paired ratios")
    axes.set_xlim(right=1.5 * max(found["ratio"]["high"] for work in works.values() for found in others(work).values()))
    figure.suptitle(sentence(record["machine"]), fontsize=7, x=0.01, ha="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def others(work: Mapping[str, Any]) -> dict[str, Any]:
    """The ways that are drawn: those of others, in their usual memory format."""
    counted = {way: found for way, found in work["ways"].items() if "ratio" in found and not is_own(way, found)}
    return {way: found for way, found in counted.items() if not found.get("part") and not found.get("layout_of")}


def bar(axes: Axes, place: float, ratio: Mapping[str, float], colour: str, name: str) -> None:
    """A bar from 1, its whisker, and its name and number beside it."""
    median = ratio["median"]
    axes.barh(place, median - 1, left=1, height=0.8, color=colour)
    axes.plot([ratio["low"], ratio["high"]], [place, place], color="black", linewidth=1)
    end = max(ratio["high"], 1.0) * 1.03
    axes.text(end, place, f"{name}  {median:.2f}", va="center", fontsize=7)
