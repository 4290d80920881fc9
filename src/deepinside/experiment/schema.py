"""The schema of an experiment: the composed YAML, typed and checked before any work."""

import copy
from collections.abc import Mapping
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from matplotlib import colormaps
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from deepinside.config.paths import STYLES
from deepinside.config.settings import STRICT, build, construct
from deepinside.errors import DeepInsideError
from deepinside.images.settings import ImageSettings
from deepinside.networks.network import Network
from deepinside.networks.precision import Precision, check_precision
from deepinside.networks.spec import NetworkSpec
from deepinside.types import ImageBatch, Seeds, TechniqueOutput

EXAMPLES = ("inferno", "gray", "gray_r", "viridis", "RdBu_r")


class Technique(Protocol):
    """A technique: a pure function of a network, images and random streams."""

    def check(self, network: Network) -> None:
        """Raise DeepInsideError if the settings do not fit this network. Called before any work."""

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput: ...


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Runtime:
    """Where and how a run executes.

    `winograd` allows Winograd's convolution for large 3×3 layers in float32 on a CPU: up to twice as fast, and it
    rounds twice as much. `report` updates `index.html` in the results folder after a run or sweep. `overwrite`
    recomputes a finished result. `worker` numbers processes that share one run's photos: `runtime.worker=range(8)` in a
    sweep starts eight.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    winograd: bool = True
    threads: PositiveInt = 2
    results: str = "results"
    model_cache: str | None = None
    report: bool = True
    overwrite: bool = False
    worker: NonNegativeInt = 0
    verbosity: Literal["quiet", "normal", "verbose"] = "normal"
    preview: float | None = Field(default=5.0, gt=0)
    tensorboard: bool | str = False

    @field_validator("device")
    @classmethod
    def _device_is_there(cls, device: str) -> str:
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"this machine has no such device ({str(error).splitlines()[0].rstrip('.')})") from error
        return device

    @field_validator("precision")
    @classmethod
    def _device_can_do_it(cls, precision: str, info: ValidationInfo) -> str:
        try:
            check_precision(precision, info.data.get("device", "cpu"))
        except DeepInsideError as error:
            raise ValueError(str(error).removeprefix("precision: ")) from error
        return precision

    @field_validator("tensorboard")
    @classmethod
    def _writer_is_there(cls, asked: bool | str) -> bool | str:
        if asked is not False and find_spec("tensorboardX") is None:
            raise ValueError("expected the package tensorboardX; install it with pip install 'deepinside[tensorboard]'")
        return asked


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FigureSettings:
    """The layout of the figure; see `deepinside.figures.layouts`.

    `inches` is the width of one picture; `width` is the width of the figure and overrides it. `panels` selects the
    panels shown (all if empty). Maps are drawn linearly up to the `percentile` of their absolute values (100: the
    largest); arrays keep the raw values. `labels` adds (a), (b), … to the parts of the layout. `style` is `screen`,
    `paper` or the path of a matplotlib style file. A PNG is always written; `formats` adds PDF and SVG. `title` null:
    a title and a note on the scale, except in the style `paper`, where the caption is the document's.

    `order` null shows the first items; the name of a metric shows those with its largest and its smallest values in
    turn, so that the layout `pairs` with two columns has successes at the left and failures at the right.
    """

    layout: Literal["rows", "wrapped", "page", "pairs", "columns"] = "rows"
    columns: PositiveInt = 4
    panels: tuple[str, ...] = ()
    limit: PositiveInt = 24
    order: str | None = None
    magnitude_map: str = "inferno"
    signed_map: str = "signed"
    percentile: float = Field(default=99.5, gt=0, le=100)
    inches: float = Field(default=1.8, gt=0)
    width: float | None = Field(default=None, gt=0)
    title: bool | None = None
    labels: bool = False
    style: str = "screen"
    formats: tuple[Literal["png", "pdf", "svg"], ...] = ("png",)

    @property
    def titled(self) -> bool:
        """Whether the figure has a title and a note on the scale."""
        return self.style != "paper" if self.title is None else self.title

    @field_validator("magnitude_map", "signed_map")
    @classmethod
    def _map_is_known(cls, name: str) -> str:
        if name not in (*colormaps, "signed"):
            raise ValueError(f"expected one of matplotlib's colour maps, such as {', '.join(EXAMPLES)}")
        return name

    @field_validator("style")
    @classmethod
    def _style_is_known(cls, name: str) -> str:
        known = sorted(path.stem for path in STYLES.glob("*.mplstyle"))
        if name not in known and not Path(name).is_file():
            raise ValueError(f"expected {', '.join(known)} or the path of a matplotlib style file")
        return name

    @field_validator("panels", "formats", mode="before")
    @classmethod
    def _one_may_stand_alone(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("formats")
    @classmethod
    def _png_is_one(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(["png", *formats]))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Save:
    """What a run saves in addition to numbers: for all items, for those shown in the figure, or for none.

    `panels`: every panel as a PNG. `maps`: every panel and trace as float32 in `arrays.npz`.
    """

    panels: Literal["all", "shown", "none"] = "all"
    maps: Literal["all", "shown", "none"] = "all"

    @staticmethod
    def wants(what: str, shown: bool) -> bool:
        """Whether to save this for an item; `shown` tells whether the figure shows it."""
        return what == "all" or (what == "shown" and shown)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Story:
    """What an experiment is about, in sentences for the report; no part of a run's identity.

    `question` is what it asks, `paper` what the paper's figure or table shows, `link` the paper's address, `ours` what
    the embedded network shows, and `difference` why the two differ.
    """

    question: str = ""
    paper: str = ""
    link: str = Field(default="", pattern="^(https://.*)?$")
    ours: str = ""
    difference: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Experiment:
    """A network, images, a technique in one or more variants, the claims to measure and the figure to draw.

    `judge` is another network, which tells whether it recognises computed images that should show a class.
    """

    name: str
    title: str
    source: str
    network: NetworkSpec
    images: ImageSettings
    techniques: Mapping[str, Any]
    claims: tuple[str, ...]
    figure: FigureSettings
    save: Save
    runtime: Runtime
    seed: NonNegativeInt
    judge: NetworkSpec | None = None
    deviations: tuple[str, ...] = ()
    story: Story = Story()


SECTIONS = {
    "network": NetworkSpec, "images": ImageSettings, "figure": FigureSettings, "save": Save, "runtime": Runtime,
    "story": Story,
}  # fmt: skip
"""The sections of the configuration with a fixed schema."""


def read_experiment(config: Mapping[str, Any]) -> Experiment:
    """Check a composed, resolved configuration and build the experiment it describes.

    `variants` maps names to changes of `technique`; each becomes one technique. Without variants there is one technique
    with an empty name. Raises DeepInsideError naming the first wrong key.
    """
    plain = dict(copy.deepcopy(config))
    technique, variants = plain.pop("technique", None), plain.pop("variants", None)
    if not isinstance(technique, Mapping) or "_target_" not in technique:
        raise DeepInsideError("technique: expected a technique such as technique=saliency, found none.")
    sections = {name: construct(kind, plain.pop(name, {}), name) for name, kind in SECTIONS.items()}
    if plain.get("judge") is not None:
        sections["judge"] = construct(NetworkSpec, plain.pop("judge"), "judge")
    plain["techniques"] = build_variants(technique, variants or {})
    refuse_unknown(plain)
    return construct(Experiment, {**plain, **sections}, "")


def refuse_unknown(plain: Mapping[str, Any]) -> None:
    """Raise DeepInsideError for an unknown top-level key, listing the known ones."""
    known = ["technique", "variants", *(field.name for field in fields(Experiment) if field.name != "techniques")]
    for name in plain:
        if name not in known and name != "techniques":
            raise DeepInsideError(f"{name}: no such key; allowed here: {', '.join(known)}.")


def build_variants(technique: Mapping[str, Any], variants: Mapping[str, Any]) -> dict[str, Technique]:
    """One technique per variant: the base settings with the variant's overrides."""
    if not variants:
        return {"": build(technique, "technique")}
    return {name: build(merge(technique, changes or {}), f"variants.{name}") for name, changes in variants.items()}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `changes` into `base` recursively. A mapping with its own `_target_` replaces the old one."""
    merged = dict(base)
    for name, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(name), Mapping) and "_target_" not in value
        merged[name] = merge(base[name], value) if nested else value
    return merged
