"""The pictures of a run's folder, drawn when it is computed or drawn again from what it has saved."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepinside import figures
from deepinside.config.settings import construct
from deepinside.errors import DeepInsideError
from deepinside.experiment.schema import FigureSettings
from deepinside.results import folder as results
from deepinside.results.items import panel_key
from deepinside.results.shown import read_shown, tensor
from deepinside.types import Item, Panel

PANEL_NOTE = "figure.panels: "
"""How a note on a panel begins that the figure cannot show."""


def save_pictures(
    items: Sequence[Item], total: int, config: Mapping[str, Any], settings: FigureSettings, folder: Path
) -> None:
    """Write the figure and the traces of `items`, the first of `total`, into `folder`."""
    title, network = config.get("title"), config["network"]["name"]
    heading = f"{title}: {network}" if title else network
    figures.save_figure(items, total, heading, settings, folder / "figure.png")
    figures.save_traces(items, folder / "trace.png", settings)


def bring_up_to_date(folder: Path, config: Mapping[str, Any]) -> bool:
    """Draw a result again if its figure has other settings than `config`; false if it has not saved enough for that."""
    known = results.read_config(folder) or {}
    if known.get("figure") == config.get("figure"):
        return True
    try:
        redraw(folder, construct(FigureSettings, config.get("figure") or {}, "figure"))
    except DeepInsideError:
        return False
    return True


def redraw(folder: Path, settings: FigureSettings, target: Path | None = None) -> None:
    """Draw the figure and the traces of a result again, without computing anything.

    With `target`, another folder, only that is written. Otherwise also the panels that the new settings change, and the
    settings in the result's `config.yaml`, `provenance.json` and notes. Raises DeepInsideError if the folder has no
    result, or has not saved its arrays.
    """
    config, metrics = results.read_config(folder), results.read_metrics(folder)
    if config is None or metrics is None or metrics.get("status") != "done":
        raise DeepInsideError(f"{folder}: expected the folder of a complete result, found none.")
    items = read_shown(folder)
    with results.writable(target or folder):
        if target is not None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            before = construct(FigureSettings, config.get("figure") or {}, "figure")
            redraw_panels(folder, items, before, settings)
        save_pictures(items, int(metrics["count"]), config, settings, target or folder)
        if target is None:
            record(folder, config, metrics, items, settings)


def redraw_panels(folder: Path, items: Sequence[Item], before: FigureSettings, now: FigureSettings) -> None:
    """Draw the saved panels again whose colour map or scale has changed."""
    if colours(before) == colours(now) or not (folder / "panels").is_dir():
        return
    known = {panel.name: panel for item in items for panel in item.panels if panel.kind in ("magnitude", "signed")}
    for panel, path in saved_panels(folder, known):
        figures.save_panel(panel, path, *colours(now))


def colours(settings: FigureSettings) -> tuple[str, str, float]:
    return settings.magnitude_map, settings.signed_map, settings.percentile


def saved_panels(folder: Path, known: Mapping[str, Panel]) -> Iterator[tuple[Panel, Path]]:
    """Every saved picture of the `known` panels, with its values; also of items that the figure does not show."""
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        for name, panel in known.items():
            for path in sorted((folder / "panels" / name).glob("*.png")):
                key = panel_key(path.stem, name)
                if key not in arrays:
                    raise DeepInsideError(f"{folder}: expected the array {key} in arrays.npz, found none.")
                yield replace(panel, values=tensor(arrays[key])), path


def record(
    folder: Path, config: dict[str, Any], metrics: dict[str, Any], items: Sequence[Item], settings: FigureSettings
) -> None:
    """Write the new settings into the result's files."""
    provenance = results.read_json(folder / "provenance.json")
    if provenance is not None:
        display = figures.scale_sentence(settings.percentile)
        results.write_json(folder / "provenance.json", {**provenance, "display": display})
    notes = [note for note in metrics.get("notes", []) if not note.startswith(PANEL_NOTE)]
    notes += figures.unknown_panel_notes(items, settings)
    results.write_json(folder / "metrics.json", {**metrics, "notes": notes})
    results.write_config(
        folder / "config.yaml", {**config, "figure": {**(config.get("figure") or {}), **plain(settings)}}
    )


def plain(settings: FigureSettings) -> dict[str, Any]:
    """The settings as in a YAML."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(settings).items()}
