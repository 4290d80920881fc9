"""The numbers and arrays of every item of a run: a Parquet table and an optional array file."""

import math
import zipfile
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np

from deepinside.errors import DeepInsideError
from deepinside.types import ClassProbability, Item, Prediction

ROWS = 4096
"""Rows per Parquet row group, which bounds a reader's memory."""
TEXTS = ("name", "title", "group", "label", "sha256", "caption")
BEST = 5


@dataclass(frozen=True)
class ItemRow:
    """One item: name, title, numbers, group, true class, the SHA-256 of its photo and its prediction, if any."""

    name: str
    title: str
    numbers: Mapping[str, float]
    group: str | None = None
    label: str | None = None
    sha256: str | None = None
    caption: str = ""
    prediction: Prediction | None = None

    @classmethod
    def of(cls, item: Item, numbers: Mapping[str, float], sha256: str | None = None) -> Self:
        prediction = item.prediction
        label = None if prediction is None else prediction.label
        return cls(item.name, item.title, numbers, item.group, label, sha256, item.caption, prediction)

    def refuse_nan(self) -> None:
        """Raise DeepInsideError if a number is not finite."""
        for key, number in self.numbers.items():
            if not math.isfinite(number):
                raise DeepInsideError(
                    f"items.{self.name}.{key}: expected a number, found {number}; the run cannot be trusted."
                )


@dataclass
class ItemTable:
    """All items as columns, about ten bytes per number. A missing number is NaN."""

    texts: dict[str, list[str | None]] = field(default_factory=lambda: {name: [] for name in TEXTS})
    numbers: dict[str, "array[float]"] = field(default_factory=dict)
    predictions: list[Prediction | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts["name"])

    def add(self, rows: Iterable[ItemRow]) -> None:
        for row in rows:
            for name in [name for name in row.numbers if name not in self.numbers]:
                self.numbers[name] = array("d", [math.nan] * len(self))
            for name, column in self.numbers.items():
                column.append(row.numbers.get(name, math.nan))
            for name, texts in self.texts.items():
                texts.append(getattr(row, name))
            self.predictions.append(row.prediction)

    def columns(self) -> dict[str, np.ndarray]:
        """The numeric columns, each (items,) float64."""
        return {name: np.frombuffer(column) for name, column in self.numbers.items()}

    def shown(self, limit: int, order: str | None = None) -> list[int]:
        """The rows that a figure of `limit` items shows: the first ones, or those with the largest and the smallest
        values of the metric `order` in turn, if any has it."""
        values = self.columns().get(order or "", np.full(len(self), math.nan))
        falling = np.argsort(-values, kind="stable")[: np.count_nonzero(~np.isnan(values))].tolist()
        half = min(limit, len(falling)) // 2
        ends = zip(falling[:half], falling[::-1][:half], strict=True)
        return [row for pair in ends for row in pair] or list(range(min(limit, len(self))))

    def numbers_of(self, rows: Iterable[int]) -> dict[str, dict[str, float]]:
        """The numbers of the items in these rows, by name."""
        return {
            str(self.texts["name"][i]): {
                k: column[i] for k, column in self.numbers.items() if not math.isnan(column[i])
            }
            for i in rows
        }

    def predictions_of(self, rows: Iterable[int]) -> dict[str, dict[str, Any]]:
        """The predictions of the items in these rows, by name, as JSON types."""
        known = ((i, self.predictions[i]) for i in rows)
        return {
            str(self.texts["name"][i]): {"caption": self.texts["caption"][i], **prediction_json(prediction)}
            for i, prediction in known
            if prediction
        }

    def right(self) -> dict[str, int]:
        """The number of images of known class, and of those whose best class it is."""
        images = {one.image: one.right for one in self.predictions if one is not None and one.right is not None}
        return {"of": len(images), "right": sum(images.values())}

    def write(self, path: Path) -> None:
        """Write compressed Parquet. The same rows give the same bytes."""
        import pyarrow  # 0.2 s to import, and only writing needs it
        from pyarrow import parquet

        texts = {name: pyarrow.array(values, pyarrow.string()) for name, values in self.texts.items()}
        numbers = {name: pyarrow.array(column, from_pandas=True) for name, column in self.columns().items()}
        prediction = {name: pyarrow.array(values) for name, values in self.prediction_columns().items()}
        parquet.write_table(
            pyarrow.table({**texts, **prediction, **numbers}), path, row_group_size=ROWS, compression="zstd"
        )

    def prediction_columns(self) -> dict[str, list[Any]]:
        """The predictions as columns, `None` where an item has none; no columns if no item has one."""
        rows = [flat(prediction) if prediction else {} for prediction in self.predictions]
        return {name: [row.get(name) for row in rows] for name in COLUMNS} if any(rows) else {}


COLUMNS = (
    "target", "target_name", "target_index", "target_score", "target_probability", "label_name", "right",
    *(f"top{place}{what}" for place in range(1, BEST + 1) for what in ("", "_index", "_probability")),
)  # fmt: skip
"""The columns of predictions in `items.parquet`."""


def flat(prediction: Prediction) -> dict[str, Any]:
    """A prediction as the columns of one row."""
    row: dict[str, Any] = {"target": prediction.request, "label_name": prediction.label_name, "right": prediction.right}
    if (target := prediction.target) is not None:
        row |= {"target_name": target.name, "target_index": target.index}
        row |= {"target_score": target.score, "target_probability": target.probability}
    for place, one in enumerate(prediction.best, 1):
        row |= {f"top{place}": one.name, f"top{place}_index": one.index, f"top{place}_probability": one.probability}
    return row


def prediction_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as JSON types."""
    target = prediction.target or ClassProbability("")
    return {
        "image": prediction.image,
        "sentence": prediction.caption,
        "target": prediction.request,
        "target_name": target.name or None,
        "target_index": target.index,
        "score": target.score,
        "probability": target.probability,
        "label": prediction.label,
        "label_name": prediction.label_name,
        "right": prediction.right,
        "best": [asdict(one) for one in prediction.best],
    }


def panel_key(item: str, panel: str) -> str:
    """The name of a panel's array."""
    return f"{item}/{panel}"


def trace_key(item: str, trace: str) -> str:
    """The name of a trace's array."""
    return f"{item}/trace/{trace}"


class ArrayFile:
    """A `.npz` file written array by array, in constant memory. The same arrays give the same bytes."""

    def __init__(self, path: Path, *, compressed: bool = True) -> None:
        self.kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
        self.zip = zipfile.ZipFile(path, "w", self.kind, compresslevel=1)

    def add(self, item: Item) -> None:
        """Add every panel as `item/panel` and every trace as `item/trace/name`, float32."""
        for panel in item.panels:
            self.put(panel_key(item.name, panel.name), panel.values.numpy())
        for name, values in item.trace.items():
            self.put(trace_key(item.name, name), values.cpu().numpy())

    def put(self, name: str, values: np.ndarray) -> None:
        buffer = BytesIO()
        np.save(buffer, values.astype(np.float32, copy=False))
        self.write(f"{name}.npy", buffer.getvalue())

    def take(self, path: Path) -> None:
        """Add all arrays of another array file."""
        with zipfile.ZipFile(path) as other:
            for name in other.namelist():
                self.write(name, other.read(name))

    def write(self, name: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        entry.compress_type = self.kind
        self.zip.writestr(entry, data, compresslevel=1)

    def close(self) -> None:
        self.zip.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
