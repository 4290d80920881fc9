"""The types that all rooms share: small frozen dataclasses.

Image space is the same for every network and technique: float32, (N, 3, H, W), RGB, mean-subtracted pixels, that is
intensities 0–255 minus the network's mean. Only `Network` applies a network's own convention (BGR, division by a
standard deviation), so a gradient is always in class score per unit of intensity.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # results can be read without importing torch
    import torch
    from torch import Tensor

PanelKind = Literal["photo", "stretched", "magnitude", "signed", "colour", "mask"]


@dataclass(frozen=True)
class Photo:
    """One image, ready for a network.

    `stem` names it in results. `pixels` is (3, H, W) float32, mean-subtracted. `sha256` is the file's hash. `label` is
    the true class's WordNet id or name, if known. `boxes` is (K, 4) float, x0 y0 x1 y1 in fractions of the full photo's
    width and height, if known. `view` is the part of the photo that `pixels` shows, in the same fractions. `number` is
    its index in the full list of photos, readable or not; its random streams depend on it. `notes` say what was guessed
    when the file was read. `depicts` is the class of a photo that ships with the project; unlike `label` it is never a
    target.
    """

    stem: str
    pixels: "Tensor"
    sha256: str
    label: str | None = None
    boxes: "Tensor | None" = None
    view: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    number: int = 0
    notes: tuple[str, ...] = ()
    depicts: str | None = None

    def boxes_in_view(self) -> "Tensor":
        """(K, 4): `boxes` in fractions of the part that `pixels` shows, clipped to it; boxes outside are dropped."""
        import torch

        if self.boxes is None:
            return torch.zeros(0, 4)
        x0, y0, x1, y1 = self.view
        shifted = (self.boxes - torch.tensor([x0, y0, x0, y0])) / torch.tensor([x1 - x0, y1 - y0] * 2)
        clipped = shifted.clamp(0, 1)
        return clipped[(clipped[:, 2:] > clipped[:, :2]).all(1)]


@dataclass(frozen=True)
class ImageBatch:
    """Photos of one size. `pixels` stacks them, (N, 3, H, W)."""

    photos: tuple[Photo, ...]
    pixels: "Tensor"

    def __len__(self) -> int:
        return len(self.photos)


@dataclass(frozen=True)
class Panel:
    """One picture: raw `values` (H, W) or (3, H, W) float, and how to display them.

    photo: RGB intensities 0–255, clipped; stretched: the same, stretched from its smallest to its largest value;
    magnitude: white to black from 0 to the largest; signed: symmetric about 0;
    colour: signed RGB, symmetric about mid-grey; mask: 0 or 1. `caption` is printed below. `boxes` (K, 4) are drawn
    on it, x0 y0 x1 y1 in its own pixels. `blank` says in a few words why a map is uninformative; it is empty for all
    others. Metrics and claims leave blank maps out.
    """

    name: str
    values: "Tensor"
    kind: PanelKind
    caption: str = ""
    boxes: "Tensor | None" = None
    blank: str = ""


@dataclass(frozen=True)
class ClassProbability:
    """A class, or another target, with its score before the soft-max and its probability, which units do not have."""

    name: str
    index: int | None = None
    score: float | None = None
    probability: float | None = None

    def __str__(self) -> str:
        return self.name if self.probability is None else f"{self.name} {100 * self.probability:.0f} %"


@dataclass(frozen=True)
class Prediction:
    """What a network sees in an image: the name of the photo, or the title of a computed image.

    `best` are at most five classes in falling order. `target` is what was differentiated, `request` how to ask for it
    again. `label` is the true class's WordNet id or name and `right` whether the best class is that one; both are None
    if unknown. `judge` is another network's name and best class, if one judges the image.
    """

    image: str
    best: tuple[ClassProbability, ...]
    target: ClassProbability | None = None
    request: str | None = None
    label: str | None = None
    label_name: str | None = None
    right: bool | None = None
    judge: str = ""

    @property
    def words(self) -> str:
        """As in `golden retriever 32 %, labelled tabby, squeezenet: tabby 50 %`."""
        target, best = self.target, self.best[0]
        parts = [f"{best} ✓" if self.right else str(best)]
        parts += [f"labelled {self.label_name}"] if self.label_name and not self.right else []
        parts += [f"target {target}"] if target is not None and target.name != best.name else []
        parts += [self.judge] if self.judge else []
        return ", ".join(parts)

    @property
    def caption(self) -> str:
        """As in `chelsea → golden retriever 32 %, labelled tabby`."""
        return f"{self.image} → {self.words}"

    @property
    def verdict(self) -> str:
        """As in `right: labelled espresso` or `wrong: labelled tabby`; empty without a true class."""
        if self.right is None or not self.label_name:
            return ""
        return f"{'right' if self.right else 'wrong'}: labelled {self.label_name}"

    def __str__(self) -> str:
        return self.caption


@dataclass(frozen=True)
class Item:
    """A technique's result for one photo, class or layer.

    `panels` are drawn in one row; `metrics` are its scalars; `trace` maps a name to its value at every step, (T,).
    `group` is a category, such as the size of the object, for which the run also reports means.
    `depicts` is the WordNet id or name of the class that its computed images should show, if any. `prediction` is what
    the network sees in the item's photo or, if it has none, in its computed image.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    trace: "Mapping[str, Tensor]" = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    group: str | None = None
    depicts: str | None = None
    prediction: Prediction | None = None

    @property
    def caption(self) -> str:
        """The title with what the network sees, unless it names photo and target already."""
        prediction = self.prediction
        named = (
            prediction is not None
            and prediction.target is not None
            and safe_name(prediction.target.name) in safe_name(self.title)
        )
        if prediction is None or (named and self.title != prediction.image):
            return self.title
        return f"{self.title} → {prediction.words}"


@dataclass(frozen=True)
class TechniqueOutput:
    """A technique's results for one batch. `deviations` say where they deviate from the paper."""

    items: tuple[Item, ...]
    deviations: tuple[str, ...] = ()


Verdict = Literal["holds", "fails", "inconclusive"]


@dataclass(frozen=True)
class Claim:
    """A statement of a paper and its measurement.

    `estimate` is the `measure`, with its 95 % `interval` over `n` units (photos, classes, …); it should be `direction`
    `threshold`. `interval` is None for fewer than six units, whose verdict is `inconclusive`, and for `exact` claims,
    which are about every single unit. `inconclusive`: the interval includes the threshold. `reason` says why the
    threshold was chosen.
    """

    id: str
    source: str
    claim: str
    measure: str
    estimate: float
    interval: tuple[float, float] | None
    n: int
    unit: str
    direction: str
    threshold: float
    verdict: Verdict
    exact: bool
    reason: str


@dataclass(frozen=True)
class Seeds:
    """The random streams of a run: each item has its own.

    A stream depends only on the seed, its name and the item's index in the full set. Batch size, order and sharding
    change no result.
    """

    seed: int

    def generator(self, index: int, stream: str) -> "torch.Generator":
        """A new CPU generator for the stream `stream` of item `index`."""
        import torch

        digest = hashlib.sha256(f"{self.seed}/{stream}/{index}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def safe_name(name: str) -> str:
    """`name` as part of a file name: without separators, blanks and characters that file systems or shells reject."""
    return re.sub(r"[^\w.+,=-]+", "_", name).strip("_.") or "_"


def unique(names: Iterable[str]) -> list[str]:
    """`names` with -2, -3, … after the second, third, … of equal ones; case is ignored, as in some file systems."""
    taken: set[str] = set()
    found = []
    for name in names:
        tries = (name if number == 1 else f"{name}-{number}" for number in count(1))
        free = next(candidate for candidate in tries if candidate.casefold() not in taken)
        taken.add(free.casefold())
        found.append(free)
    return found
