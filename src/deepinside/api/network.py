"""A network as `load` returns it: it can be called, and predicts the classes of photos."""

from collections.abc import Sequence
from dataclasses import fields

from torch import Tensor

from deepinside.images.inputs import ImageInput, read_inputs
from deepinside.images.settings import ImageSettings
from deepinside.metrics.prediction import predictions
from deepinside.networks.network import Network
from deepinside.networks.precision import pixels_to_device
from deepinside.types import ImageBatch, Prediction

CROP = ImageSettings(resize="short_side_crop")


class Classifier(Network):
    """A verified network that can be called with image space and asked for the classes of photos."""

    @classmethod
    def of(cls, network: Network) -> "Classifier":
        return cls(**{one.name: getattr(network, one.name) for one in fields(network) if one.init})

    def __call__(self, x: Tensor) -> Tensor:
        """The un-normalised class scores (N, classes) of `x` in image space; see `scores`."""
        return self.scores(x)

    def predict(
        self, photo: ImageInput | Sequence[ImageInput] | ImageBatch, *, levels: tuple[float, float] | None = None
    ) -> tuple[Prediction, ...]:
        """For each photo the five best classes with scores and probabilities, of the largest centre crop.

        `print` shows a prediction as `cat → tabby 62 %`; `best` has its five classes. `levels` as in `photos`.
        """
        batch = photo if isinstance(photo, ImageBatch) else read_inputs(photo, CROP, self.input, levels)
        found = predictions(
            self, ImageBatch(batch.photos, pixels_to_device(batch.pixels, self)), range(len(batch.photos))
        )
        return tuple(found.values())
