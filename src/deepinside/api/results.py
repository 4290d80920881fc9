"""The return types of the library: frozen results that display in a notebook and can be saved."""

import base64
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from deepinside import figures
from deepinside.errors import DeepInsideError
from deepinside.experiment.schema import FigureSettings
from deepinside.metrics.aggregation import blank_note, means, numbers
from deepinside.results import folder as results
from deepinside.results.items import ArrayFile, ItemRow, ItemTable
from deepinside.results.shown import read_shown, write_shown
from deepinside.types import ClassProbability, Item, Panel, Prediction, TechniqueOutput

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Found = TypeVar("Found")
MAPS = ("magnitude", "signed", "colour")
SHOWN = 24
"""At most this many items are drawn; all are available and saved."""
SIDE = 192
"""Pictures are enlarged to at least about this many pixels, without interpolation."""
BOX = (255, 127, 14)


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """The result for one item: a photo, a class, or a layer of a photo.

    `item` is the technique's output; `metrics` holds its numbers, as in the runner's `metrics.json`.
    """

    item: Item
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, item: Item) -> "Result":
        """A technique's item with the metrics that the runner adds."""
        return cls(item, numbers(item))

    @property
    def name(self) -> str:
        """Its unique name, valid as a file name."""
        return self.item.name

    @property
    def title(self) -> str:
        """Its display name."""
        return self.item.title

    @property
    def panels(self) -> dict[str, Panel]:
        """Every panel by name: raw values and how to display them (`deepinside.types.Panel`)."""
        return {panel.name: panel for panel in self.item.panels}

    @property
    def trace(self) -> Mapping[str, Tensor]:
        """Values at every step by name, each (T,); empty if the technique has no steps."""
        return self.item.trace

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on this item: guesses, and maps that are blank."""
        blank = (f"{name}: the map tells nothing, it is {p.blank}" for name, p in self.panels.items() if p.blank)
        return (*self.item.notes, *blank)

    @property
    def maps(self) -> dict[str, Tensor]:
        """The maps by name, each (H, W), or (3, H, W) in colour: class score per intensity step."""
        return {name: panel.values for name, panel in self.panels.items() if panel.kind in MAPS}

    @property
    def map(self) -> Tensor:
        """The only map. Raises DeepInsideError if there is none or several."""
        return only("map", self.maps, self)

    @property
    def images(self) -> dict[str, Tensor]:
        """The computed images by name, each (3, H, W) RGB, intensities 0–255, not clipped."""
        return {
            n: p.values
            for n, p in self.panels.items()
            if p.kind in ("photo", "stretched") and n not in ("photo", "box")
        }

    @property
    def image(self) -> Tensor:
        """The only computed image: a class model or a reconstruction. Raises DeepInsideError like `map`."""
        return only("image", self.images, self)

    @property
    def photo(self) -> Tensor:
        """The photo as the network sees it, (3, H, W) RGB, intensities 0–255."""
        return only("photo", {n: p.values for n, p in self.panels.items() if n in ("photo", "box")}, self)

    @property
    def mask(self) -> Tensor:
        """The object mask, (H, W) of 0 and 1. Raises DeepInsideError if the technique computes none."""
        return only("mask", {n: p.values for n, p in self.panels.items() if p.kind == "mask"}, self)

    @property
    def box(self) -> Tensor:
        """The object box, (4,): x0 y0 x1 y1 in pixel edges of `photo`. Raises DeepInsideError like `mask`."""
        found = {n: p.boxes[0] for n, p in self.panels.items() if n == "box" and p.boxes is not None}
        return only("box", found, self)

    @property
    def prediction(self) -> Prediction | None:
        """What the network sees in the photo or the computed image: the five best classes, the target, the verdict."""
        return self.item.prediction

    @property
    def target(self) -> ClassProbability | None:
        """What was differentiated: `name`, `index`, `score` and `probability`; None if nothing was."""
        return None if self.item.prediction is None else self.item.prediction.target

    def to_numpy(self) -> dict[str, NDArray[np.float32]]:
        """The values of every panel by name, (H, W) or (3, H, W)."""
        return {name: panel.values.detach().cpu().float().numpy() for name, panel in self.panels.items()}

    def plot(self, ax: "Axes", panel: str | None = None) -> "Axes":
        """Draw a panel, by default the only map or computed image, with its caption on a matplotlib axis."""
        name = panel or only("map or image", {name: name for name in self.maps or self.images}, self)
        if name not in self.panels:
            raise DeepInsideError(f"{self.name}: expected one of {', '.join(self.panels)}; found {name!r}.")
        ax.imshow(figures.picture(self.panels[name], FigureSettings().magnitude_map))
        ax.set_axis_off()
        ax.set_title(self.item.caption, fontsize="small", wrap=True, parse_math=False)
        return ax

    def show(self) -> None:
        """Show the figure: in a notebook, else in the system's image viewer."""
        show(self, drawn([self.item]))

    def save(self, folder: str | Path) -> Path:
        """Save this item alone; see `Results.save`."""
        return Results("", "", (self,)).save(folder)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in list(self.metrics.items())[:4])
        notes = "".join(f"; {note}" for note in self.notes)
        return f"<{self.item.caption}: {', '.join(self.panels)}{'; ' if numbers else ''}{numbers}{notes}>"

    def _repr_html_(self) -> str:
        return f"<table>{row(self)}</table>"

    def _repr_png_(self) -> bytes:
        return drawn([self.item])


@dataclass(frozen=True, repr=False, eq=False)
class Results(Sequence[Result]):
    """A sequence of `Result`, indexed by position or name.

    If it has one item, `map`, `image`, `photo`, `mask`, `box` and `trace` are that item's. `deviations` lists where the
    settings differ from the paper. `notes` lists automatic choices, guesses about the network, and items that the
    metrics leave out.
    """

    technique: str
    network: str
    items: tuple[Result, ...]
    deviations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, technique: str, network: str, outputs: Sequence[TechniqueOutput], notes: Iterable[str] = ()
    ) -> "Results":
        """The results of several batches; `notes` are the network's own."""
        items = tuple(Result.of(item) for output in outputs for item in output.items)
        said = dict.fromkeys(sentence for output in outputs for sentence in output.deviations)
        table = table_of(items)
        blank = blank_note(table.texts["name"], table.columns())
        told = dict.fromkeys([*notes, *(note for one in items for note in one.item.notes), *blank])
        return cls(technique, network, items, tuple(said), tuple(told))

    @property
    def metrics(self) -> dict[str, float]:
        """The mean of every metric over the items that have it, as in the runner's `metrics.json`."""
        return means(self.table().columns())

    @property
    def map(self) -> Tensor:
        """The `map` of the only item. Raises DeepInsideError if there are several; so do the next five properties."""
        return self.one().map

    @property
    def image(self) -> Tensor:
        return self.one().image

    @property
    def photo(self) -> Tensor:
        return self.one().photo

    @property
    def mask(self) -> Tensor:
        return self.one().mask

    @property
    def box(self) -> Tensor:
        return self.one().box

    @property
    def trace(self) -> Mapping[str, Tensor]:
        return self.one().trace

    def one(self) -> Result:
        """The only item. Raises DeepInsideError if there are several."""
        return only("result", {item.name: item for item in self.items}, self)

    def to_numpy(self) -> dict[str, NDArray[np.float32]]:
        """The panels that all items have, by name, stacked: (N, H, W) or (N, 3, H, W)."""
        found = [item.to_numpy() for item in self.items]
        names = [name for name in (found[0] if found else {}) if all(name in one for one in found)]
        stackable = [name for name in names if len({one[name].shape for one in found}) == 1]
        return {name: np.stack([one[name] for one in found]) for name in stackable}

    def to_pandas(self) -> Any:
        """One row per item: prediction and metrics, the columns of `items.parquet`. Needs pandas."""
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise DeepInsideError(
                "to_pandas: expected the package pandas, found none; install it with pip install pandas."
            ) from error
        table = self.table()
        return pandas.DataFrame({**table.texts, **table.prediction_columns(), **table.columns()})

    def plot(self, ax: "Axes", panel: str | None = None) -> "Axes":
        """Draw a panel of the only item; see `Result.plot`."""
        return self.one().plot(ax, panel)

    def show(self) -> None:
        """Show the figure: in a notebook, else in the system's image viewer."""
        show(self, self._repr_png_())

    def save(self, folder: str | Path) -> Path:
        """Write `arrays.npz`, `items.parquet`, `figure.png`, `trace.png`, `metrics.json` and the panels into `folder`.

        The files equal the runner's; `arrays.npz` and the panels are byte-identical. `metrics.json` has no `status`, so
        the folder does not count as a run's result. Returns the folder. Raises DeepInsideError if it cannot be written.
        """
        folder, settings = Path(folder), FigureSettings()
        items = [one.item for one in self.items]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with ArrayFile(folder / "arrays.npz") as arrays:
                for item in items:
                    arrays.add(item)
            for item in items:
                for panel in item.panels:
                    place = folder / "panels" / panel.name / f"{item.name}.png"
                    figures.save_panel(panel, place, settings.magnitude_map)
            figures.save_figure(items, len(items), self.heading(), settings, folder / "figure.png")
            figures.save_traces(items[:SHOWN], folder / "trace.png")
            self.table().write(folder / "items.parquet")
            write_shown(folder, items)
            results.write_json(folder / "metrics.json", self.summary())
        except OSError as error:
            raise DeepInsideError(f"save: expected a folder that can be written to, found {error}.") from error
        return folder

    def table(self) -> ItemTable:
        """The metrics of all items as a table."""
        return table_of(self.items)

    def summary(self) -> dict[str, object]:
        """The contents of `metrics.json`."""
        return {
            "technique": self.technique,
            "network": self.network,
            "metrics": self.metrics,
            "deviations": list(self.deviations),
            "notes": list(self.notes),
            "items": {item.name: dict(item.metrics) for item in self.items},
            "predictions": self.table().predictions_of(range(len(self))),
        }

    def heading(self) -> str:
        return f"{self.technique.replace('_', ' ')}: {self.network}" if self.technique else ""

    @overload
    def __getitem__(self, place: int | str) -> Result: ...
    @overload
    def __getitem__(self, place: slice) -> "Results": ...
    def __getitem__(self, place: int | str | slice) -> "Result | Results":
        if isinstance(place, slice):
            return Results(self.technique, self.network, self.items[place], self.deviations, self.notes)
        if isinstance(place, int):
            return self.items[place]
        known = {item.name: item for item in self.items}
        if place not in known:
            raise DeepInsideError(f"expected one of {', '.join(known)}; found {place!r}.")
        return known[place]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        names = ", ".join(item.item.caption for item in self.items[:6])
        return f"<{self.heading()}: {names}{', …' if len(self) > 6 else ''}>"

    def _repr_html_(self) -> str:
        said = [f"the first {SHOWN} of {len(self)}"] if len(self) > SHOWN else []
        said += [figures.scale_sentence(figures.PERCENTILE)] if any(one.maps for one in self) else []
        said += [f"differs from the paper: {sentence}" for sentence in self.deviations]
        said += [f"note: {sentence}" for sentence in self.notes]
        notes = "".join(f"<br><small>{escape(sentence)}</small>" for sentence in said)
        return f"<table>{''.join(map(row, self.items[:SHOWN]))}</table>{notes}"

    def _repr_png_(self) -> bytes:
        return drawn([one.item for one in self.items[:SHOWN]])


def read(folder: str | Path) -> Results:
    """A result from its folder, with the items that its figure shows: `di.read("results/fig2_saliency/net/default")`.

    Raises DeepInsideError if the folder has no complete result or has not saved its arrays.
    """
    folder = Path(folder)
    metrics, config = results.read_metrics(folder), results.read_config(folder) or {}
    if metrics is None or metrics.get("status", "done") != "done":
        raise DeepInsideError(f"{folder}: expected the folder of a complete result, found none.")
    numbers = metrics.get("items", {})
    items = tuple(Result(item, numbers.get(item.name, item.metrics)) for item in read_shown(folder))
    module = str(config.get("technique", {}).get("_target_", "")).rpartition(".")[0].rpartition(".")[2]
    return Results(
        metrics.get("technique") or module, metrics["network"], items, tuple(metrics.get("deviations", ())),
        tuple(metrics.get("notes", ())),
    )  # fmt: skip


def show(found: "Result | Results", png: bytes) -> None:
    """Display in a running notebook, else open the picture."""
    notebook = sys.modules.get("IPython")
    if notebook is not None and notebook.get_ipython() is not None:
        notebook.display.display(found)
    else:
        Image.open(BytesIO(png)).show()


def table_of(items: Iterable[Result]) -> ItemTable:
    """Every item's numbers, by column."""
    table = ItemTable()
    table.add(ItemRow.of(one.item, one.metrics) for one in items)
    return table


def only(what: str, found: Mapping[str, Found], of: "Result | Results") -> Found:
    """The only value in `found`. Raises DeepInsideError listing the alternatives."""
    if len(found) == 1:
        return next(iter(found.values()))
    if isinstance(of, Results):
        raise DeepInsideError(
            f"expected one {what}, found {len(found)}; choose by position or name: {', '.join(found)}."
        )
    if found:
        raise DeepInsideError(
            f"{of.name}: expected one {what}, found {len(found)}; choose in .panels: {', '.join(found)}."
        )
    raise DeepInsideError(f"{of.name}: expected a {what}, found none; its .panels are {', '.join(of.panels)}.")


def drawn(items: Sequence[Item]) -> bytes:
    """The items' figure as a PNG."""
    buffer = BytesIO()
    with figures.styled():
        figures.save(figures.draw_rows(items, FigureSettings()), buffer)
    return buffer.getvalue()


def row(one: Result) -> str:
    """One item as a row of an HTML table, with its texts escaped."""
    numbers = "".join(f"<br>{escape(name)} {value:.4g}" for name, value in list(one.metrics.items())[:6])
    words = f'{escape(one.item.caption)}<small style="font-weight:normal">{numbers}</small>'
    cells = "".join(map(cell, one.panels.values()))
    return f'<tr><th style="text-align:left;vertical-align:top">{words}</th>{cells}</tr>'


def cell(panel: Panel) -> str:
    name = escape(figures.heading(panel))
    return (
        f'<td style="text-align:center;vertical-align:top"><img alt="{name}" '
        f'src="data:image/png;base64,{png(panel)}"><br><small>{name}<br>{escape(figures.words_of(panel))}</small></td>'
    )


def png(panel: Panel) -> str:
    """The panel with its boxes as a base64 PNG, at least about `SIDE` pixels wide."""
    image = Image.fromarray(figures.picture(panel, FigureSettings().magnitude_map))
    times = max(1, round(SIDE / image.width))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    for box in [] if panel.boxes is None else (panel.boxes * times).round().int().tolist():
        ImageDraw.Draw(image).rectangle([*box[:2], box[2] - 1, box[3] - 1], outline=BOX, width=2)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
