"""What travels along the corridor: small frozen values, made once and never changed.

The image space, the same for every network and technique: float32, (N, 3, H, W), RGB, *zero-centred pixels*,
that is pixel values 0-255 minus the network's mean. A network's own convention (BGR, division by a standard
deviation) is applied inside `Network` and nowhere else, so a gradient is always "class score per pixel level".
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # so that results can be read without torch
    import torch
    from torch import Tensor

PanelKind = Literal["photo", "stretched", "magnitude", "signed", "colour", "mask"]


@dataclass(frozen=True)
class Photo:
    """One image, ready for a network.

    `stem` names it in results; `pixels` is (3, H, W) float32, zero-centred; `sha256` that of the file; `label`
    the true class's WordNet id or name, where one is known; `boxes` (K, 4) float, x0 y0 x1 y1 in fractions of the
    whole photo's width and height, where they are known; `view` is the part of the photo that `pixels` shows, in the
    same fractions; `number` is its place in the whole list of photos, readable or not, which names its random streams;
    `notes` say what was guessed when the file was read.
    """

    stem: str
    pixels: "Tensor"
    sha256: str
    label: str | None = None
    boxes: "Tensor | None" = None
    view: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    number: int = 0
    notes: tuple[str, ...] = ()

    def boxes_in_view(self) -> "Tensor":
        """(K, 4): `boxes` in fractions of what `pixels` shows, cut off at its edges; those outside are left out."""
        import torch

        if self.boxes is None:
            return torch.zeros(0, 4)
        x0, y0, x1, y1 = self.view
        moved = (self.boxes - torch.tensor([x0, y0, x0, y0])) / torch.tensor([x1 - x0, y1 - y0] * 2)
        cut = moved.clamp(0, 1)
        return cut[(cut[:, 2:] > cut[:, :2]).all(1)]


@dataclass(frozen=True)
class ImageBatch:
    """Photos of one size. `pixels` stacks them, (N, 3, H, W)."""

    photos: tuple[Photo, ...]
    pixels: "Tensor"

    def __len__(self) -> int:
        return len(self.photos)


@dataclass(frozen=True)
class Panel:
    """One picture: raw `values` (H, W) or (3, H, W) float, and how a person should see them.

    photo: RGB intensities 0–255, clipped; stretched: the same, stretched from its least to its largest value;
    magnitude: white to black from 0 to the largest; signed: symmetric about 0;
    colour: signed RGB, symmetric about mid-grey; mask: 0 or 1. `caption` stands under it. `boxes` (K, 4) are drawn
    on it, x0 y0 x1 y1 in its own pixels. `blank` says why a map tells nothing, in a few words, and is empty where it
    tells something: numbers and claims leave blank maps out.
    """

    name: str
    values: "Tensor"
    kind: PanelKind
    caption: str = ""
    boxes: "Tensor | None" = None
    blank: str = ""


@dataclass(frozen=True)
class Item:
    """What a technique found out about one thing: a photo, a class, a layer.

    `panels` are drawn in one row; `metrics` are its scalars; `trace` maps a name to its value at every step, (T,).
    `group` is the kind of thing it is, where the run's means are to be told by kind too (the size of its object).
    `depicts` is the WordNet id or name of the class that its computed images should show, if any.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    trace: "Mapping[str, Tensor]" = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    group: str | None = None
    depicts: str | None = None


@dataclass(frozen=True)
class TechniqueOutput:
    """A technique's answer for one batch. `deviations` say where it leaves the paper."""

    items: tuple[Item, ...]
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, measured: `holds` is the verdict of `measured` against `expected`."""

    id: str
    source: str
    claim: str
    measured: float
    expected: str
    holds: bool


@dataclass(frozen=True)
class Seeds:
    """Where every random number comes from: each item of a run has streams of its own.

    Because a stream depends on the seed, its name and the item's place in the whole set only, batch size, order
    and sharding change no result.
    """

    seed: int

    def generator(self, index: int, stream: str) -> "torch.Generator":
        """The stream called `stream` of item number `index`, on the CPU, at its beginning."""
        import torch

        digest = hashlib.sha256(f"{self.seed}/{stream}/{index}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def safe_name(name: str) -> str:
    """`name` as part of a file's name: no separators, blanks or characters a file system or a shell minds."""
    return re.sub(r"[^\w.+,=-]+", "_", name).strip("_.") or "_"


def unique(names: Iterable[str]) -> list[str]:
    """`names` with -2, -3, … after the second, third, … of the same; file systems may not tell capitals apart."""
    taken: set[str] = set()
    found = []
    for name in names:
        tries = (name if number == 1 else f"{name}-{number}" for number in count(1))
        free = next(candidate for candidate in tries if candidate.casefold() not in taken)
        taken.add(free.casefold())
        found.append(free)
    return found
