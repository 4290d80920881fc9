"""Everything on a sheet has its place: nothing overlaps, nothing is cut off, whatever it is called."""

from itertools import combinations
from typing import Any, get_args, get_type_hints

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from deepinside import figures
from deepinside.experiment.schema import FigureSettings
from deepinside.types import Item, Panel

LONG = "a photo of two tiger cats, a Königspinguin and Donaudampfschifffahrtsgesellschaftskapitän"
LAYOUTS = ("rows", "wrapped", "page", "pairs", "columns")


def crowded(count: int = 5) -> list[Item]:
    """Long names, tall and wide pictures, many panels."""
    shapes = ((3, 8, 8), (3, 20, 8), (3, 8, 20))
    found = []
    for i in range(count):
        panels = (Panel(f"{n}_{LONG}", torch.rand(shapes[(i + n) % 3]), "photo", f"said of {LONG}") for n in range(3))
        found.append(Item(f"{i}", f"{LONG} {i}", tuple(panels)))
    return found


def drawn(items: list[Item], **settings: Any) -> Figure:
    with figures.styled(settings.get("style", "screen")):
        return figures.draw(items, LONG, FigureSettings(**settings))


def boxes(figure: Figure) -> tuple[list[Bbox], list[Bbox]]:
    """Where words and pictures are, in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    words = [text.get_window_extent(renderer) for text in axes.texts if text.get_text()]
    return words, [image.get_window_extent(renderer) for image in axes.images]


def overlap(one: Bbox, other: Bbox) -> float:
    """The smaller side of what both cover, in pixels."""
    common = Bbox.intersection(one, other)
    return 0.0 if common is None else min(common.width, common.height)


def test_every_layout_is_tried() -> None:
    assert set(get_args(get_type_hints(FigureSettings)["layout"])) == set(LAYOUTS)


@pytest.mark.parametrize("style", ["screen", "paper"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_overlaps_and_nothing_is_cut_off(layout: str, style: str) -> None:
    figure = drawn(crowded(), layout=layout, style=style, columns=3, inches=1.0, labels=True)
    words, pictures = boxes(figure)
    assert len(pictures) == 15
    assert len(words) > 15
    assert max(overlap(a, b) for a, b in combinations(pictures, 2)) < 0.1
    assert max(overlap(a, b) for a in words for b in pictures) < 1.5
    # the boxes of neighbouring lines include room for accents and tails, some of a pixel
    assert max(overlap(a, b) for a, b in combinations(words, 2)) < 3
    page = figure.bbox
    for box in [*words, *pictures]:
        assert box.x0 > 0
        assert box.y0 > 0
        assert box.x1 < page.x1
        assert box.y1 < page.y1


def test_the_note_on_the_scale_fits_a_narrow_figure_with_names() -> None:
    for inches in (1.5, 2.0, 2.5, 3.0):
        figure = drawn([Item("a", "a", (Panel("map", torch.rand(8, 8), "magnitude"),))], inches=inches)
        note = next(
            box for text, box in zip(figure.axes[0].texts, boxes(figure)[0], strict=True) if "scale" in text.get_text()
        )
        assert note.x1 < figure.bbox.x1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_width_of_a_paper_is_kept(layout: str) -> None:
    figure = drawn(crowded(2), layout=layout, columns=2, width=5.5)
    assert figure.get_figwidth() == pytest.approx(5.5)


def test_pictures_keep_their_shape_and_tall_ones_leave_room() -> None:
    panels = tuple(Panel(name, torch.rand(shape), "magnitude") for name, shape in (("w", (4, 8)), ("t", (40, 4))))
    _, (wide, tall) = boxes(drawn([Item("a", "a", panels)], inches=1.0))
    assert wide.width == pytest.approx(2 * wide.height)
    assert tall.height == pytest.approx(10 * tall.width)
    assert tall.height < 2 * wide.width


def test_boxes_are_drawn_in_the_panels_own_pixels_light_in_dark() -> None:
    panel = Panel("map", torch.rand(8, 8), "magnitude", boxes=torch.tensor([[1.0, 2.0, 5.0, 8.0]]))
    (axes,) = drawn([Item("a", "a", (panel,))], inches=1.0).axes
    (image,) = axes.images
    left, right, bottom, top = image.get_extent()
    frame, casing, line = axes.patches
    assert (frame.get_width(), frame.get_height()) == pytest.approx((right - left, bottom - top))
    for box in (casing, line):
        assert (box.get_x() - left, box.get_y() - top) == pytest.approx((1 / 8, 2 / 8))
        assert (box.get_width(), box.get_height()) == pytest.approx((4 / 8, 6 / 8))
    assert casing.get_linewidth() > line.get_linewidth()
    assert sum(line.get_edgecolor()[:3]) > sum(casing.get_edgecolor()[:3]) + 1


def test_many_items_stay_as_large_as_few() -> None:
    _, few = boxes(drawn(crowded(2), layout="page", columns=6))
    words, many = boxes(drawn(crowded(24), layout="page", columns=6))
    assert len(many) == 72
    assert many[0].width == few[0].width
    assert all(box.height > 5 for box in words)
