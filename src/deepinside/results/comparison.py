"""What differs between two or more results: configuration, provenance, claims, metrics and items."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepinside.console.claims import count_text, estimate_text, threshold_text
from deepinside.errors import DeepInsideError
from deepinside.results import folder as results
from deepinside.results.regression import is_close, tolerance

ABSENT = object()
"""The value of a key that a result does not have."""
TEXTS = {"target_name": "target", "label_name": "true class", "sha256": "photo (SHA-256)", "group": "group"}
"""The columns of texts in `items.parquet` that are compared, and what they are called."""
BEST = 5


@dataclass(frozen=True)
class Result:
    """A complete result, read from its folder; `items` maps an item's name to its values."""

    folder: Path
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    metrics: Mapping[str, Any]
    items: Mapping[str, Mapping[str, Any]]

    @property
    def experiment(self) -> str:
        return str(self.metrics["experiment"])


@dataclass(frozen=True)
class Difference:
    """A key whose `values`, one per result, are not all equal; `ABSENT` where a result lacks the key."""

    key: str
    values: tuple[Any, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(map(value_text, self.values))

    @property
    def change(self) -> str:
        """From the first to the second of two numbers, as in `+0.5 (+20 %)`; empty for all others."""
        if len(self.values) != 2 or not all(map(is_number, self.values)):
            return ""
        before, after = self.values
        share = f" ({100 * (after - before) / abs(before):+.3g} %)" if before else ""
        return f"{after - before:+.4g}{share}"


@dataclass(frozen=True)
class Section:
    """The differences of one kind. `close` is the number of differences left out as within their tolerances."""

    name: str
    differences: tuple[Difference, ...]
    close: int = 0


def read_result(folder: Path) -> Result:
    """The complete result in `folder`. Raises DeepInsideError if it is missing, unfinished, failed or damaged."""
    if not folder.is_dir():
        raise DeepInsideError(f"{folder}: expected the folder of a result, found {what_is_at(folder)}.")
    read = {name: reader(folder) for name, reader in READERS.items()}
    metrics = read["metrics.json"]
    if metrics and metrics.get("status") == "failed":
        raise DeepInsideError(f"{folder}: expected a complete result, found a failed run ({metrics.get('reason')}).")
    for name, found in read.items():
        if found is None:
            state = "a damaged one" if (folder / name).exists() else "none"
            raise DeepInsideError(f"{folder}: expected a complete result with its {name}, found {state}.")
    try:
        return Result(folder, read["config.yaml"] or {}, read["provenance.json"] or {}, metrics or {}, items(folder))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DeepInsideError(
            f"{folder}: expected a complete result, found a damaged items.parquet ({error})."
        ) from error


READERS = {
    "metrics.json": results.read_metrics,
    "config.yaml": results.read_config,
    "provenance.json": lambda folder: results.read_json(folder / "provenance.json"),
}


def what_is_at(folder: Path) -> str:
    if folder.exists():
        return "a file"
    part = folder.with_name(f"{folder.name}.part")
    return "an unfinished run, which the same command finishes" if part.exists() else "none"


def items(folder: Path) -> dict[str, dict[str, Any]]:
    """The numbers, target and best classes of every item, by the item's name."""
    import pyarrow.parquet  # 0.2 s to import

    return {
        row["name"]: dict(item_values(row)) for row in pyarrow.parquet.read_table(folder / "items.parquet").to_pylist()
    }


def item_values(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is compared of an item; the best classes are one text."""
    yield from ((said, row[name]) for name, said in TEXTS.items() if row.get(name) is not None)
    best = [(row.get(f"top{place}"), row.get(f"top{place}_probability")) for place in range(1, BEST + 1)]
    if best[0][0] is not None:
        yield "best classes", ", ".join(class_text(*one) for one in best if one[0] is not None)
    yield from ((name, value) for name, value in row.items() if isinstance(value, float) and not name.startswith("top"))


def class_text(name: Any, probability: float | None) -> str:
    if probability is None:
        return name
    percent = 100 * probability
    return f"{name} {percent:.0f} %" if percent >= 10 else f"{name} {percent:.2g} %"  # .2g writes 99.7 as 1e+02


def compare(found: Sequence[Result], tolerances: Mapping[str, Any] | None = None) -> list[Section]:
    """Every kind of difference between the results, in the order in which they are read.

    With `tolerances` (see `deepinside.results.regression`), numbers that agree with the first result within them are
    counted, not listed.
    """
    name = found[0].experiment
    sections = (section(kind, [values(one) for one in found], name, tolerances) for kind, values in KINDS.items())
    return list(sections)


def section(
    kind: str, values: Sequence[Mapping[str, Any]], experiment: str, tolerances: Mapping[str, Any] | None
) -> Section:
    """The differences between flat mappings, one per result."""
    keys = dict.fromkeys(key for one in values for key in one)
    rows = [Difference(key, tuple(one.get(key, ABSENT) for one in values)) for key in keys]
    unequal = [row for row in rows if any(value != row.values[0] for value in row.values)]
    if tolerances is None or kind not in NUMERIC:
        return Section(kind, tuple(unequal))
    kept = tuple(row for row in unequal if not all_close(row, tolerance(f"{experiment}/{row.key}", tolerances)))
    return Section(kind, kept, len(unequal) - len(kept))


def all_close(row: Difference, limit: Mapping[str, float]) -> bool:
    return all(map(is_number, row.values)) and all(is_close(value, row.values[0], limit) for value in row.values)


def settings(result: Result) -> dict[str, Any]:
    """The configuration that determines the numbers, flat."""
    return {key: value for key, value in results.flatten(result.config).items() if results.decides(key)}


def other_settings(result: Result) -> dict[str, Any]:
    """The configuration that determines only where, how fast and how it is drawn, flat."""
    shown = {key: value for key, value in result.config.items() if key != "story"}  # sentences for the report
    return {key: value for key, value in results.flatten(shown).items() if not results.decides(key)}


def origin(result: Result) -> dict[str, Any]:
    """The provenance, flat, without what the configuration has already; of the layers' checks the largest error."""
    found = {key: value for key, value in result.provenance.items() if key not in ("runtime", "seed", "display")}
    network = dict(found.get("network") or {})
    errors = [error for error in (network.pop("checks", None) or {}).values() if is_number(error)]
    network |= {"largest error of its checks": max(errors)} if errors else {}
    where = result.provenance.get("runtime") or {}
    runtime = {key: where.get(key) for key in ("device", "precision", "winograd", "threads")}
    return results.flatten({**found, "network": network, "runtime": runtime})


def claims(result: Result) -> dict[str, str]:
    """The verdict on every claim with its numbers, by the claim's sentence."""
    return {claim["claim"]: claim_text(claim) for claim in result.metrics.get("claims", [])}


def claim_text(claim: Mapping[str, Any]) -> str:
    return f"{claim['verdict']}: {estimate_text(claim)}, {count_text(claim)}, expected {threshold_text(claim)}"


def numbers(result: Result) -> dict[str, Any]:
    """Every metric, its means by group, and the number of items and of right answers."""
    groups = {f"{group}: {name}": value for group, name, value in by_group(result)}
    right = result.metrics.get("right") or {}
    answers = {"right answers": f"{right['right']} of {right['of']}"} if right.get("of") else {}
    return {"items": result.metrics.get("count"), **answers, **result.metrics.get("metrics", {}), **groups}


def by_group(result: Result) -> Iterator[tuple[str, str, float]]:
    for group, values in (result.metrics.get("by_group") or {}).items():
        yield from ((group, name, value) for name, value in values.items())


def item_numbers(result: Result) -> dict[str, Any]:
    """Every value of every item; an item has one key of its own, so that a lost item is one difference."""
    return {f"{item}: {name}": value for item, values in result.items.items() for name, value in values.items()}


def remarks(result: Result) -> dict[str, str]:
    """The deviations from the paper, the notes, and the photos that were skipped."""
    said = dict.fromkeys(result.metrics.get("deviations", []), "deviation")
    said |= dict.fromkeys(result.metrics.get("notes", []), "note")
    return said | {f"{one['name']}: {one['reason']}": "skipped" for one in result.metrics.get("skipped", [])}


KINDS = {
    "Configuration": settings,
    "Configuration that changes no number": other_settings,
    "Provenance": origin,
    "Claims": claims,
    "Metrics": numbers,
    "Items": item_numbers,
    "Deviations and notes": remarks,
}
NUMERIC = ("Metrics", "Items")
"""The kinds that tolerances apply to."""


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_text(value: Any) -> str:
    """A value as readable text; `–` if there is none."""
    if value is ABSENT:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else results.value_text(value)


def labels(found: Iterable[Result]) -> list[str]:
    """A, B, C, …"""
    return [chr(ord("A") + number) for number, _ in enumerate(found)]
