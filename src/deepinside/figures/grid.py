"""Draws rows of pictures and text; all sizes are computed in inches first, so that nothing overlaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from deepinside.figures import style, text_metrics
from deepinside.figures.layouts import Cell, Row
from deepinside.figures.pictures import picture, scale_sentence
from deepinside.types import Panel

if TYPE_CHECKING:
    from deepinside.experiment.schema import FigureSettings

MARGIN, GAP, TOUCH, CLOSE = 0.06, 0.1, 0.03, 0.05
BASE = 0.74
"""The position of the baseline, as a fraction of the line height."""
TALLEST = 1.6
"""The maximum ratio of height to width of a picture, so that a tall photo leaves room for the others."""
FRAME = "#A0A0A0"
BOX, CASING = "#FFB000", "#000000"
"""A light line with a dark outline is visible on every photo, in greyscale and for colour-blind readers."""
MAPS = ("magnitude", "signed", "colour")


@dataclass(frozen=True)
class Fonts:
    """The style's fonts."""

    title: FontProperties = field(default_factory=lambda: text_metrics.font("figure.titlesize"))
    block: FontProperties = field(default_factory=lambda: text_metrics.font("axes.titlesize", "bold"))
    above: FontProperties = field(default_factory=lambda: text_metrics.font("axes.titlesize"))
    below: FontProperties = field(default_factory=lambda: text_metrics.font("axes.labelsize"))
    name: FontProperties = field(default_factory=lambda: text_metrics.font("font.size"))


class FigureGrid:
    """A figure in which every position is in inches from the upper left corner."""

    def __init__(self, rows: Sequence[Row], title: str, settings: "FigureSettings") -> None:
        self.rows, self.settings, self.fonts = rows, settings, Fonts()
        self.name_lines = max(
            2, *(lines(text_metrics.fit(row.name, settings.inches, self.fonts.name, 3)) for row in rows)
        )
        margin = text_metrics.height(self.fonts.name, self.name_lines) + GAP / 2
        self.left = MARGIN + (margin if any(row.name for row in rows) else 0)
        self.inches = self.size_of_pictures()
        self.width = max(self.right_of(row) for row in rows) + MARGIN
        self.title = text_metrics.fit(title, self.width - 2 * MARGIN, self.fonts.title) if settings.titled else ""
        words = scale_sentence(settings.percentile) if settings.titled and self.has_maps() else ""
        self.note = text_metrics.fit(words, self.width - self.left - MARGIN, self.fonts.below, 4)
        self.height = self.measure()
        self.figure = Figure(figsize=(self.width, self.height), dpi=style.dots())
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))

    # ---- measuring ----

    def size_of_pictures(self) -> float:
        """The width of a picture: as set, or from the width of the figure."""
        if self.settings.width is None:
            return self.settings.inches
        room, most = self.settings.width - self.left - MARGIN, 0
        for row in self.rows:
            panels = sum(len(cell.panels) for cell in row.cells)
            fixed = self.gap(row) * (len(row.cells) - 1) + TOUCH * (panels - len(row.cells))
            room, most = (self.settings.width - self.left - MARGIN - fixed, panels) if panels > most else (room, most)
        return max(room / most, 0.2)

    def gap(self, row: Row) -> float:
        return CLOSE if row.tight else GAP

    def right_of(self, row: Row) -> float:
        return self.left + sum(map(self.width_of, row.cells)) + self.gap(row) * (len(row.cells) - 1)

    def width_of(self, cell: Cell) -> float:
        return len(cell.panels) * self.inches + (len(cell.panels) - 1) * TOUCH

    def tall(self, row: Row) -> float:
        """The height of the row's pictures."""
        return max(self.size(panel)[1] for cell in row.cells for panel in cell.panels)

    def size(self, panel: Panel) -> tuple[float, float]:
        """Width and height of a picture."""
        high, wide = panel.values.shape[-2:]
        height = min(self.inches * high / wide, self.inches * TALLEST)
        return height * wide / high, height

    def above(self, cell: Cell) -> list[str]:
        return [text_metrics.fit(words, self.inches, self.fonts.above) for words in cell.above]

    def below(self, cell: Cell) -> str:
        return text_metrics.fit(cell.below, self.width_of(cell), self.fonts.below)

    def heights(self, row: Row) -> tuple[float, float, float, float]:
        """The heights of the heading, of the text above the pictures, of the pictures, and of the text below."""
        most = max((lines(words) for cell in row.cells for words in self.above(cell)), default=0)
        under = max(lines(self.below(cell)) for cell in row.cells)
        heading = text_metrics.height(self.fonts.block) + GAP / 2 if row.heading else 0.0
        return (
            heading,
            text_metrics.height(self.fonts.above, most),
            self.tall(row),
            text_metrics.height(self.fonts.below, under),
        )

    def measure(self) -> float:
        """The height of the figure."""
        title = text_metrics.height(self.fonts.title, lines(self.title)) + GAP / 2 if self.title else 0
        note = GAP / 2 + text_metrics.height(self.fonts.below, lines(self.note)) if self.note else 0
        return 2 * MARGIN + title + sum(sum(self.heights(row)) + self.space(row) for row in self.rows) + note

    def has_maps(self) -> bool:
        return any(panel.kind in MAPS for row in self.rows for cell in row.cells for panel in cell.panels)

    def space(self, row: Row) -> float:
        """The space between this row and the next."""
        return 0 if row is self.rows[-1] else CLOSE if row.tight else GAP

    # ---- drawing ----

    def draw(self) -> Figure:
        y = MARGIN
        if self.title:
            self.write(self.width / 2, y, self.title, self.fonts.title)
            y += text_metrics.height(self.fonts.title, lines(self.title)) + GAP / 2
        for row in self.rows:
            self.draw_row(row, y)
            y += sum(self.heights(row)) + self.space(row)
        if self.note:
            self.write(self.left, y + GAP / 2, self.note, self.fonts.below, ha="left")
        return self.figure

    def draw_row(self, row: Row, y: float) -> None:
        heading, above, tall, _ = self.heights(row)
        if row.heading:
            words = text_metrics.fit(row.heading, self.width - self.left - MARGIN, self.fonts.block, 1)
            self.write(self.left, y, words, self.fonts.block, ha="left")
        top = y + heading + above
        if row.name:
            words = text_metrics.fit(row.name, tall, self.fonts.name, self.name_lines)
            self.write_upwards(top + tall / 2, words, self.fonts.name)
        x = self.left
        for cell in row.cells:
            self.draw_cell(cell, x, top, tall)
            x += self.width_of(cell) + self.gap(row)

    def draw_cell(self, cell: Cell, x: float, top: float, tall: float) -> None:
        for place, words in zip(self.places(cell, x), self.above(cell), strict=False):
            over = top - text_metrics.height(self.fonts.above, lines(words))
            self.write(place + self.inches / 2, over, words, self.fonts.above)
        for place, panel in zip(self.places(cell, x), cell.panels, strict=True):
            wide, high = self.size(panel)
            self.show(panel, place + (self.inches - wide) / 2, top + (tall - high) / 2)
        self.write(x + self.width_of(cell) / 2, top + tall, self.below(cell), self.fonts.below)

    def places(self, cell: Cell, x: float) -> Iterator[float]:
        return (x + number * (self.inches + TOUCH) for number in range(len(cell.panels)))

    def show(self, panel: Panel, x: float, y: float) -> None:
        """A picture with its boxes, its upper left corner at `x`, `y`."""
        wide, high = self.size(panel)
        image = AxesImage(self.axes, extent=(x, x + wide, y + high, y), interpolation="none")
        known = self.settings
        image.set_data(picture(panel, known.magnitude_map, known.signed_map, known.percentile))
        self.axes.add_image(image)
        self.axes.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor=FRAME, linewidth=0.3))
        scale = wide / panel.values.shape[-1]
        for x0, y0, x1, y1 in [] if panel.boxes is None else panel.boxes.tolist():
            place, size = (x + scale * x0, y + scale * y0), (scale * (x1 - x0), scale * (y1 - y0))
            for colour, line in ((CASING, 2.2), (BOX, 1.1)):
                self.axes.add_patch(Rectangle(place, *size, fill=False, edgecolor=colour, linewidth=line))

    def write(self, x: float, y: float, words: str, kind: FontProperties, *, ha: str = "center") -> None:
        """Write lines of text downwards from `y`, each on its baseline, so that neighbouring texts are level."""
        for number, line in enumerate(words.split("\n")):
            base = y + text_metrics.height(kind, number) + text_metrics.height(kind) * BASE
            self.axes.text(x, base, line, fontproperties=kind, ha=ha, va="baseline", parse_math=False)

    def write_upwards(self, y: float, words: str, kind: FontProperties) -> None:
        """Write vertical lines of text at the left edge, centred at the height `y`."""
        known = words.split("\n")
        for number, line in enumerate(known):
            x = self.left - GAP / 2 - text_metrics.height(kind, len(known) - number) + text_metrics.height(kind) * BASE
            self.axes.text(
                x, y, line, fontproperties=kind, ha="right", va="center", rotation=90, rotation_mode="default",
                parse_math=False,
            )  # fmt: skip


def lines(words: str) -> int:
    return words.count("\n") + 1 if words else 0
