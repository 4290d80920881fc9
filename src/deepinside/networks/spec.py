"""The declaration of a network: its file, input convention, layer names, target and labels.

torch is imported only when a tensor is used, so a configuration is read and checked quickly.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass

from deepinside.config.libraries import library_name, library_node
from deepinside.config.paths import ROOT
from deepinside.config.suggestions import nearest
from deepinside.errors import DeepInsideError
from deepinside.networks.labels import SUFFIXES, read_names

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Channels = Literal["rgb", "bgr", "grey"]
Posterior = Literal["softmax", "sigmoid"]
Interpolation = Literal["bilinear", "bicubic"]
STRICT = ConfigDict(extra="forbid")
# ITU-R BT.601, as Pillow's "L" and OpenCV's greyscale use them
LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputConvention:
    """A network's preprocessing: `native = (pixels / scale - mean) / std`, channels in the order of `channels`.

    `size` is (height, width). `scale` is the number of intensities in one unit of the network's input: 1 for Caffe's
    0–255, 255 for networks that take 0–1. `mean` and `std` are in the network's own channel order and units, exactly as
    published, e.g. [104, 117, 123] with `bgr` and scale 1, or [0.485, 0.456, 0.406] with `rgb` and scale 255.

    `mean` may also be a file (.npy or .binaryproto) with a mean image (C, H, W), next to the YAML; `mean_sha256` is
    then its hash. `mean_fit` says how it gets the photos' size: `crop` takes its centre, as Caffe's data layer
    does; `resize` scales it to `size`, as Caffe's first Python classifier did.

    `crop` and `interpolation` say how the photos of the published accuracy are resized: `crop` is the part of a photo's
    shorter side that the centre crop shows, 0.875 for 224 of 256.

    Image space (see `deepinside.types`) is RGB mean-subtracted pixels, (N, 3, H, W); (N, 1, H, W) for `grey`.
    """

    size: tuple[int, int] = (224, 224)
    channels: Channels = "rgb"
    scale: float = Field(default=1.0, gt=0)
    mean: tuple[float, ...] | str = (0.0, 0.0, 0.0)
    mean_fit: Literal["crop", "resize"] = "crop"
    mean_sha256: str | None = None
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    crop: float = Field(default=1.0, gt=0, le=1)
    interpolation: Interpolation = "bilinear"

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        for key, values in (("mean", self.mean), ("std", self.std)):
            if not isinstance(values, str) and len(values) != self.count:
                raise ValueError(f"{key} needs {self.count} numbers for channels={self.channels}, found {len(values)}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, found {list(self.std)}")
        if min(self.size) < 1:
            raise ValueError(f"size must be (height, width) of at least 1, found {list(self.size)}")
        return self

    @property
    def count(self) -> int:
        """Number of channels: 3, or 1 for a grey network."""
        return 1 if self.channels == "grey" else 3

    @property
    def pixels_per_unit(self) -> tuple[float, ...]:
        """The number of intensities in one unit of the network's input, by channel, in RGB order."""
        return tuple(self.scale * value for value in self._rgb(self.std))

    def to_network(self, pixels: "Tensor") -> "Tensor":
        """Mean-subtracted (…, C, H, W) of RGB intensities 0–255 (…, 3, H, W), uint8 or float; grey takes luminance."""
        pixels = pixels if pixels.is_floating_point() else pixels.float()
        if self.count == 1 and pixels.shape[-3] == 3:
            pixels = (pixels * self._column(pixels, LUMINANCE)).sum(dim=-3, keepdim=True)
        return pixels - self._mean(pixels)

    def to_pixels(self, x: "Tensor") -> "Tensor":
        """uint8 intensities 0–255 of mean-subtracted `x` (…, C, H, W): the mean added back, rounded and clamped."""
        return self.to_intensities(x).round().clamp(0, 255).byte()

    def to_intensities(self, x: "Tensor") -> "Tensor":
        """Intensities as floats, unclamped: `x` (…, C, H, W) with the mean added back."""
        return x + self._mean(x)

    def mean_at(self, size: tuple[int, int], dtype: "torch.dtype", device: "torch.device") -> "Tensor":
        """The mean in intensities 0–255, RGB, for images of `size` (H, W): (C, 1, 1), or (C, H, W) of a mean image.

        Raises `DeepInsideError` if a mean image does not fit that size.
        """
        if isinstance(self.mean, str):
            return _mean_image(self, size, dtype, device)
        return _column(tuple(self.scale * value for value in self._rgb(self.mean)), dtype, device)

    def native(self, x: "Tensor") -> "Tensor":
        """The ONNX graph's input for mean-subtracted `x` (…, C, H, W): its scale and its order of channels."""
        units = self.pixels_per_unit
        scaled = x if set(units) == {1.0} else x / self._column(x, units)
        return _reversed(scaled) if self.channels == "bgr" else scaled

    def _rgb(self, values: tuple[float, ...]) -> tuple[float, ...]:
        return values[::-1] if self.channels == "bgr" else values

    def check_fits(self, size: tuple[int, int]) -> None:
        """Raise `DeepInsideError` if a mean image cannot be subtracted from photos of `size` (H, W)."""
        if isinstance(self.mean, str):
            import torch

            self.mean_at(size, torch.float32, torch.device("cpu"))

    def _mean(self, like: "Tensor") -> "Tensor":
        return self.mean_at((like.shape[-2], like.shape[-1]), like.dtype, like.device)

    @staticmethod
    def _column(like: "Tensor", values: tuple[float, ...]) -> "Tensor":
        return _column(values, like.dtype, like.device)


def _reversed(x: "Tensor") -> "Tensor":
    """`x` (…, C, H, W) with reversed channels in channels-last memory; one pass forward and one backward."""
    import torch

    return torch.stack(x.unbind(-3)[::-1], -1).movedim(-1, -3)


@cache
def _column(values: tuple[float, ...], dtype: "torch.dtype", device: "torch.device") -> "Tensor":
    """One value per channel, (C, 1, 1). Cached, because copying numbers to a GPU synchronises with it."""
    import torch

    return torch.tensor(values, dtype=dtype, device=device).view(-1, 1, 1)


@cache
def _mean_image(
    convention: InputConvention, size: tuple[int, int], dtype: "torch.dtype", device: "torch.device"
) -> "Tensor":
    from deepinside.networks.mean_image import mean_image  # needs numpy

    file = str(convention.mean)
    values = mean_image(file, convention.mean_sha256, convention.mean_fit, convention.size, size)
    if len(values) != convention.count:
        raise DeepInsideError(
            f"{file} has {len(values)} channels, but channels: {convention.channels} has {convention.count}"
        )
    ordered = values.flip(0) if convention.channels == "bgr" else values
    return (convention.scale * ordered).to(device=device, dtype=dtype)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Reference:
    """A photo that ships with scikit-image (`skimage.data`) and the WordNet ids of the accepted top classes."""

    photo: str
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NetworkSpec:
    """The declaration of one network: a file in conf_models/.

    `file` is searched next to the YAML, then fetched from `urls`; `sha256` is its hash. `target` is the layer of
    un-normalised class scores. `layers` maps canonical names to ONNX value names; if it is empty, names are derived
    from the value names. `aliases` maps further names to canonical ones. `output` declares the file's last operator; by
    default any is accepted; `features` declares a representation without class scores, such as HOG. `posterior` turns
    scores into probabilities: a soft-max over the classes, or a sigmoid for each class if a photo may have several; by
    default as in the file, else soft-max. `labels` is the stem of a file in conf_models/labels/. `checked` is false in
    a draft: every run then reports what is guessed. `folder` is the YAML's folder, set by `read_spec`.
    """

    name: str
    file: str
    target: str
    input: InputConvention
    title: str = ""
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    bytes: int | None = Field(default=None, gt=0)
    output: Literal["scores", "softmax", "sigmoid", "features"] | None = None
    posterior: Posterior | None = None
    weights: Literal["trained", "random", "fixed"] = "trained"
    labels: str | None = None
    layers: dict[str, str] = Field(default_factory=dict)
    aliases: dict[str, str] = Field(default_factory=dict)
    reference: Reference | None = None
    licence: str = ""
    source: str = ""
    notes: str = ""
    checked: bool | None = None
    folder: str | None = None

    @model_validator(mode="after")
    def _mean_image_is_next_to_the_yaml(self) -> Self:
        if isinstance(self.input.mean, str):
            path = (Path(self.folder) if self.folder else conf_models()) / self.input.mean
            object.__setattr__(self, "input", replace(self.input, mean=str(path)))
        return self

    @field_validator("sha256")
    @classmethod
    def _is_sha256(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9a-f]{64}", value):
            raise ValueError(f"a SHA-256 has 64 small hexadecimal digits, found {value!r}")
        return value

    @property
    def md5(self) -> None:
        """Networks are declared with their SHA-256."""
        return

    @property
    def local_file(self) -> Path:
        """The path of a file that was placed by hand: next to the YAML, or in conf_models/."""
        return (Path(self.folder) if self.folder else conf_models()) / self.file


@plain_dataclass(frozen=True)
class Label:
    """One class: its index among the scores, its WordNet id ("" if it has none) and its name."""

    index: int
    wnid: str
    name: str


@plain_dataclass(frozen=True)
class Layer:
    """One value of the network: its canonical name, its name in the ONNX file, its operator and its shape.

    `shape` has no batch axis: (C, H, W) or (C,).
    """

    name: str
    value: str
    kind: str
    shape: tuple[int, ...]


def conf_models() -> Path:
    """The folder of network YAMLs that ships with the program."""
    return ROOT / "conf_models"


def make_spec(values: Mapping[str, Any], *, origin: str = "the network's settings") -> NetworkSpec:
    """A spec from plain values; raises `DeepInsideError` with every wrong key."""
    try:
        return NetworkSpec(**values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        known = ", ".join(NetworkSpec.__dataclass_fields__)
        raise DeepInsideError(f"{origin} does not describe a network: {faults} (known keys: {known})") from None


def read_spec(path: Path) -> NetworkSpec:
    """The spec in one YAML file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DeepInsideError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise DeepInsideError(f"{path} should hold keys and values that describe a network, found {values!r}")
    return make_spec({"folder": str(path.resolve().parent), **values}, origin=str(path))


def find_spec(name: str) -> NetworkSpec:
    """The spec of that name in conf_models/, in the YAML at that path, or in a library such as torchvision.

    An error lists the known names.
    """
    if library_name(name):
        return make_spec(library_node(name), origin=name)
    if name.endswith((".yaml", ".yml")):
        return read_spec(Path(name))
    known = {path.stem: path for path in sorted(conf_models().glob("*.yaml"))}
    if name not in known:
        near = nearest(name, known)
        order = [*near, *(other for other in known if other not in near)]
        raise DeepInsideError(f"there is no network {name!r}; known, nearest first: {', '.join(order)}")
    return read_spec(known[name])


def read_labels(spec: NetworkSpec) -> tuple[Label, ...]:
    """The network's labels from labels/<stem>.txt, or another file of that stem; see `deepinside.networks.labels`."""
    if spec.labels is None:
        return ()
    has_suffix = Path(spec.labels).suffix in SUFFIXES
    names = [spec.labels] if has_suffix else [f"{spec.labels}{suffix}" for suffix in SUFFIXES]
    return tuple(Label(index, *row) for index, row in enumerate(read_names(_local_or_shipped(spec, *names))))


def read_groups(spec: NetworkSpec, labels: Sequence[Label]) -> dict[str, tuple[int, ...]]:
    """The groups of classes in labels/groups.yaml (such as the cats) by name: the indices of the network's classes."""
    places = {label.wnid: label.index for label in labels if label.wnid}
    if not places:
        return {}
    text = _local_or_shipped(spec, "groups.yaml").read_text(encoding="utf-8")
    known = {name: tuple(places[w] for w in wnids if w in places) for name, wnids in yaml.safe_load(text).items()}
    return {name: indices for name, indices in known.items() if indices}


def _local_or_shipped(spec: NetworkSpec, *names: str) -> Path:
    """The first file with one of these names in the YAML folder's labels/, in its folder, or in conf_models/labels/."""
    own = Path(spec.folder) if spec.folder else conf_models()
    folders = list(dict.fromkeys([own / "labels", own, conf_models() / "labels"]))
    places = (folder / name for folder in folders for name in names)
    try:
        found = next((place for place in places if place.is_file()), None)
    except ValueError:  # not a valid file name
        found = None
    if found is None:
        where = " or ".join(map(str, folders))
        raise DeepInsideError(f"{spec.name}: the label file {names[0]} is not in {where}")
    return found
