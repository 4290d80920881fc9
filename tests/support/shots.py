"""Photos in folders of their own, and what becomes of them on the way to a network."""

from pathlib import Path

from PIL import Image

from deepinside.images.batches import Skipped, all_batches
from deepinside.images.settings import ImageSettings
from deepinside.images.sources import Source, listed
from deepinside.networks.spec import InputConvention
from deepinside.types import ImageBatch

CAFFE = InputConvention(size=(8, 8), channels="bgr", mean=(104.0, 117.0, 123.0))


def put(path: Path, level: int = 128, size: tuple[int, int] = (12, 10)) -> Path:
    """A photo of one grey level; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path, format="PNG")
    return path


def run(settings: ImageSettings, convention: InputConvention = CAFFE) -> tuple[list[ImageBatch], list[Skipped]]:
    """Every batch, and the photos that could not be read."""
    found = list(all_batches(settings, convention))
    return [each.batch for each in found if each.batch is not None], [one for each in found for one in each.skipped]


def sources(**settings: object) -> list[Source]:
    return listed(ImageSettings(**settings))  # type: ignore[arg-type]


def stems(**settings: object) -> list[str]:
    return [source.stem for source in sources(**settings)]
