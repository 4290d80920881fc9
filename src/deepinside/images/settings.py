"""Settings of the photos: which ones, and how they are resized to the network's input."""

from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator
from pydantic.dataclasses import dataclass

from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.images.datasets import Dataset
from deepinside.networks.spec import InputConvention

PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "camera": ("skimage", "data/camera.png"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}
"""Photographs inside the packages of dependencies, which need no download: name, package and file.

Public domain: astronaut and hubble (NASA), rocket (SpaceX), grace_hopper (US Navy); CC0: camera, chelsea and coffee;
CC BY 2.0: china (danielbuechele) and flower (vultilion); motorcycle: Middlebury stereo data set, 2014.
"""
DEPICTED = {"chelsea": "n02123045", "coffee": "n07920052", "grace_hopper": "n03763968"}
"""What they show as WordNet ids: a tabby, an espresso, a military uniform. The others show no one class of ImageNet."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageSettings:
    """Which photos to load and how to resize them. With neither `root` nor `names` there are none.

    root: a folder, one image, a glob such as `photos/n02*/*.jpg`, a `.txt` file with one path per line, relative to
    the list's folder (`#` starts a comment), or a `.zip`, `.tar`, `.tar.gz`, `.tar.bz2` or `.tar.xz` of photos, which
    is read like a folder, without unpacking; also a folder or glob inside an archive (`photos.zip/val/images`), or a
    URL of one of these (https://, s3://, gs://, …).
    recursive: include sub-folders.
    names: photographs that come with scikit-image, scikit-learn and matplotlib, placed before those of `root`.
    resize: `square` stretches to the size; `short_side_crop` scales the photo without distortion and takes the largest
    centre crop of the network's shape. short_side: the length to which the shorter side is scaled before the crop (by
    default the network's own, else as short as possible). enlarge: photos are loaded this many times larger than the
    network's input, for techniques that take crops of the network's size from them.
    limit: the largest number of photos; the first ones are taken. batch: how many are computed at once.
    labels: the photos' true classes: `folder` (the name of the file's folder), `stem` (an `n` and eight digits at the
    start of its name), or a file or URL of lines `name label`, separated by a tab, a comma or a space.
    annotations: boxes and labels of the objects: a file or a folder of files in a format of
    `deepinside.images.annotations`. A photo without a label takes that of its largest box; boxes with other labels are
    dropped. Label files and annotations may be in an archive.
    dataset: a declared data set, which is fetched once, see `deepinside.images.datasets`; `split` is one of its splits.
    unknown_classes: `skip` leaves out photos with a label that the network does not have, and says so; `keep` keeps
    them, so that techniques that need the photo's own class refuse them.
    """

    root: str | None = None
    recursive: bool = False
    names: tuple[str, ...] = ()
    resize: Literal["square", "short_side_crop"] = "square"
    short_side: PositiveInt | None = None
    enlarge: float = Field(default=1.0, ge=1)
    limit: PositiveInt | None = None
    batch: PositiveInt = 16
    labels: str | None = None
    annotations: str | None = None
    unknown_classes: Literal["keep", "skip"] = "keep"
    dataset: Dataset | None = None
    split: str | None = None

    @field_validator("names")
    @classmethod
    def _names_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in PHOTOGRAPHS]
        if unknown:
            raise ValueError(f"no photograph {unknown[0]!r}; there are {', '.join(PHOTOGRAPHS)}")
        return names

    @model_validator(mode="after")
    def _photos_have_one_source(self) -> Self:
        if self.dataset is not None and self.root is not None:
            raise ValueError("root: the photos are those of the data set; add images=none to take your own")
        if self.dataset is not None and self.split not in self.dataset.splits:
            raise ValueError(f"split: expected one of {', '.join(self.dataset.splits)}, found {self.split}")
        return self

    @model_validator(mode="after")
    def _short_side_is_used(self) -> Self:
        if self.short_side is not None and self.resize != "short_side_crop":
            raise ValueError("short_side needs resize=short_side_crop")
        return self


def in_place(settings: ImageSettings) -> ImageSettings:
    """The settings with the paths of the data set's files, which are fetched if they are missing."""
    data = settings.dataset
    if data is None or settings.split is None:
        return settings
    split = data.splits[settings.split]
    labels = split.labels if split.labels in (None, "folder", "stem") else data.place(split.labels)
    return replace(
        settings,
        dataset=None,
        split=None,
        root=data.place(split.root),
        labels=settings.labels or labels,
        annotations=settings.annotations or (split.annotations and data.place(split.annotations)),
    )


def as_declared(settings: ImageSettings, convention: InputConvention) -> ImageSettings:
    """The settings with the short side that the network's `crop` asks for, where a crop is made and none is set."""
    if settings.resize != "short_side_crop" or settings.short_side is not None or convention.crop == 1:
        return settings
    own = round(min(convention.size) / convention.crop)
    return replace(settings, short_side=max(own, *loaded_size(settings, convention)))


def loaded_size(settings: ImageSettings, convention: InputConvention) -> tuple[int, int]:
    """Height and width of the photos that a technique receives: the network's times `enlarge`.

    Raises DeepInsideError if `short_side` is too short for that, or if the network's mean image does not fit it.
    """
    size = (round(convention.size[0] * settings.enlarge), round(convention.size[1] * settings.enlarge))
    if settings.short_side is not None and settings.short_side < min(size):
        raise DeepInsideError(
            f"images.short_side is {settings.short_side}, smaller than the {size[0]}×{size[1]} that is cut out of it; "
            f"make it at least {min(size)}."
        )
    convention.check_fits(size)
    return size


def view(full: tuple[int, int], size: tuple[int, int], *, short_side: int | None) -> tuple[float, float, float, float]:
    """The part of an image of `full` (w, h) that is shown at `size` (H, W): left, top, right, bottom in its pixels.

    Without `short_side` the full image, stretched. With it the centre crop after scaling the shorter side to that
    length, or to more if `size` would not fit into the photo otherwise.
    """
    if short_side is None:
        return 0.0, 0.0, float(full[0]), float(full[1])
    scale = min(min(full) / short_side, full[0] / size[1], full[1] / size[0])
    width, height = size[1] * scale, size[0] * scale
    left, top = (full[0] - width) / 2, (full[1] - height) / 2
    return max(left, 0.0), max(top, 0.0), min(left + width, full[0]), min(top + height, full[1])


def crop_side(settings: ImageSettings, size: tuple[int, int]) -> int | None:
    """The length to which `view` scales the shorter side: at least the shorter side of `size` (H, W)."""
    return (settings.short_side or min(size)) if settings.resize == "short_side_crop" else None
