"""The items of a run's figure, read back from its folder: `shown.json` describes them, `arrays.npz` has values."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from deepinside.errors import DeepInsideError
from deepinside.results.folder import write_json
from deepinside.results.items import panel_key, trace_key
from deepinside.types import ClassProbability, Item, Panel, Prediction

if TYPE_CHECKING:
    from torch import Tensor

NAME = "shown.json"


def write_shown(folder: Path, items: Iterable[Item]) -> None:
    """Write `shown.json`: everything of the items except the values of panels and traces."""
    write_json(folder / NAME, {"items": [described(item) for item in items]})


def described(item: Item) -> dict[str, Any]:
    return {
        "name": item.name,
        "title": item.title,
        "panels": [panel_json(panel) for panel in item.panels],
        "metrics": dict(item.metrics),
        "traces": list(item.trace),
        "notes": list(item.notes),
        "group": item.group,
        "depicts": item.depicts,
        "prediction": asdict(item.prediction) if item.prediction else None,
    }


def panel_json(panel: Panel) -> dict[str, Any]:
    boxes = None if panel.boxes is None else panel.boxes.tolist()
    return {"name": panel.name, "kind": panel.kind, "caption": panel.caption, "boxes": boxes, "blank": panel.blank}


def read_shown(folder: Path) -> list[Item]:
    """The items of the figure. Raises DeepInsideError if the folder has not saved them."""
    try:
        known = json.loads((folder / NAME).read_text(encoding="utf-8"))["items"]
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            return [restored(one, arrays) for one in known]
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise DeepInsideError(f"{folder}: expected the folder of a result, with its {missing}, found none.") from None
    except KeyError as error:
        array = str(error.args[0]).partition(" is not")[0]
        raise DeepInsideError(
            f"{folder}: expected the array {array} in arrays.npz, found none; run it again with save=shown."
        ) from None
    except (OSError, ValueError, TypeError, BadZipFile) as error:
        raise DeepInsideError(f"{folder}: expected {NAME} and arrays.npz of a result, found {error}.") from error


def restored(known: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Item:
    """An item from its description and its arrays."""
    name = known["name"]
    panels = (panel_of(one, tensor(arrays[panel_key(name, one["name"])])) for one in known["panels"])
    trace = {key: tensor(arrays[trace_key(name, key)]) for key in known["traces"]}
    return Item(
        name, known["title"], tuple(panels), known["metrics"], trace, tuple(known["notes"]), known["group"],
        known["depicts"], prediction_of(known["prediction"]),
    )  # fmt: skip


def panel_of(known: Mapping[str, Any], values: "Tensor") -> Panel:
    boxes = None if known["boxes"] is None else tensor(np.array(known["boxes"], np.float32).reshape(-1, 4))
    return Panel(known["name"], values, known["kind"], known["caption"], boxes, known["blank"])


def prediction_of(known: Mapping[str, Any] | None) -> Prediction | None:
    if known is None:
        return None
    target = None if known["target"] is None else ClassProbability(**known["target"])
    return Prediction(**{**known, "best": tuple(ClassProbability(**one) for one in known["best"]), "target": target})


def tensor(values: np.ndarray) -> "Tensor":
    import torch

    return torch.from_numpy(values)
