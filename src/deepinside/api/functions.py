"""The Python library: the functions of `import deepinside as di`.

    net = di.load("tinycaffenet")
    di.saliency(net, "cat.jpg", target="Egyptian cat").map

Each function runs one technique with the defaults of its YAML in `configs/technique/`, exactly like the command line:
the same settings give byte-identical numbers. Keyword arguments are the technique's settings; unknown ones are refused.
Photos can be paths (a file, folder or glob), Pillow images, uint8 arrays (H, W, 3), uint8 tensors (3, H, W), or a
sequence of these; `photos` prepares them once for several calls. Every error is a DeepInsideError with one sentence.
Nothing is written or printed; only a missing network file is downloaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import torch
from torch import nn

from deepinside.api import defaults
from deepinside.api.network import Classifier
from deepinside.api.results import Result as Result
from deepinside.api.results import Results
from deepinside.api.results import read as read
from deepinside.attribution.averaging import Average
from deepinside.attribution.relu_rules import ReluRule
from deepinside.config import catalogue, hydra_errors
from deepinside.config.libraries import library_name
from deepinside.config.settings import construct
from deepinside.errors import DeepInsideError
from deepinside.experiment.schema import Runtime, Technique
from deepinside.images.inputs import ImageInput, read_inputs
from deepinside.images.settings import ImageSettings
from deepinside.metrics.recognition import with_recognition
from deepinside.networks.load import load as load_spec
from deepinside.networks.network import Network
from deepinside.networks.precision import Precision, pixels_to_device, to_device
from deepinside.networks.spec import Channels, InputConvention, NetworkSpec
from deepinside.optimisation.objectives import Objective
from deepinside.optimisation.optimisers import LBFGS, AdaGrad, Adam, Momentum
from deepinside.optimisation.parametrisation import Parametrisation
from deepinside.optimisation.priors import Mahendran2014, Mahendran2016
from deepinside.techniques.randomisation import Order
from deepinside.techniques.saliency import Show
from deepinside.types import ImageBatch, Seeds

Photos = ImageInput | Sequence[ImageInput] | ImageBatch
BATCH_SIZE = 16
"""Photos per batch, as on the command line; it changes no result."""
SHORT_SIDE_PER_CROP = 1.143
"""256/224: with ten crops, photos are loaded this much larger than the network's input."""


# ---- networks and photos ---------------------------------------------------------------------------------------------


class Convention(TypedDict, total=False):
    """The input convention of a torch module."""

    size: int | tuple[int, int]
    mean: Sequence[float]
    std: Sequence[float]
    channels: Channels
    scale: float


def load(
    network: str | Path | nn.Module,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
    labels: str | Sequence[str] | None = None,
    **convention: Unpack[Convention],
) -> Network:
    """Load a network and verify that torch and onnxruntime agree at each of its layers. Its weights are frozen.

    `network` is a name from `deepinside-model list` (the file is downloaded at first use), the path of a YAML or .onnx
    file, a torch module, or a name in torchvision or timm with the weights, preprocessing and classes declared there:
    `torchvision:resnet50`, `timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k`; `torchvision:resnet50:random` has random
    weights. ONNX files do not store preprocessing: guesses are listed in `notes` of the network and of every result,
    and `deepinside-model draft` writes a YAML to correct them. On a GPU, `precision` applies to the process
    (`deepinside.networks.precision`).

    A torch module must map images to class scores and be exportable to ONNX; it is not changed, and no file is
    written. It requires `size` (a number, or height and width), `mean` and `std`; `channels` and `scale` (255: images
    in 0–1) are optional, see `deepinside.networks.spec.InputConvention`. `labels` are the class names in order, or the
    stem of a list in conf_models/labels/.

    Raises DeepInsideError for an unknown name or device, an invalid file, or a disagreement of the two libraries.
    """
    runtime = construct(Runtime, {"device": device, "precision": precision}, "load")
    if isinstance(network, nn.Module):
        from deepinside.networks.module import from_module

        found = from_module(network, input_convention(convention), labels)
    elif convention or labels is not None:
        raise DeepInsideError(
            f"load: {', '.join([*convention, *(['labels'] if labels is not None else [])])}: expected only with a "
            f"torch module; the YAML of {network} sets them."
        )
    else:
        found = load_spec(find_network_spec(network))
    return Classifier.of(to_device(found, runtime.device, runtime.precision))


def input_convention(convention: Convention) -> InputConvention:
    """The input convention of a torch module. Size, mean and standard deviation have no default."""
    missing = [name for name in ("size", "mean", "std") if name not in convention]
    if missing:
        raise DeepInsideError(
            f"load: a torch module does not store its input convention: expected {', '.join(missing)}, as in "
            f"di.load(module, size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))."
        )
    size = convention["size"]
    square = (size, size) if isinstance(size, int) else size
    return construct(InputConvention, {"scale": 255.0, **convention, "size": square}, "load")


def find_network_spec(network: str | Path) -> NetworkSpec:
    """The specification of a network, from its YAML or guessed from its ONNX file."""
    if not isinstance(network, str | Path):
        raise DeepInsideError(
            f"load: expected the name of a network, the path of a .yaml or .onnx file, or a torch module, "
            f"found {network!r}."
        )
    if library_name(str(network)):
        return construct(NetworkSpec, catalogue.network_node(str(network)), "network")
    path = Path(network)
    if path.suffix == ".onnx":
        from deepinside.networks.draft import draft

        return draft(path).spec
    if path.suffix in (".yaml", ".yml"):
        return construct(NetworkSpec, catalogue.network_node(path.stem, path.resolve()), "network")
    known = catalogue.files("network")
    if str(network) not in known:
        near = hydra_errors.hint(str(network), known)
        raise DeepInsideError(f"load: expected one of {', '.join(known)}, or a file; found {str(network)!r}.{near}")
    return construct(NetworkSpec, catalogue.network_node(str(network), known[str(network)]), "network")


def photos(
    network: Network, photo: Photos, *, levels: tuple[float, float] | None = None, **settings: Any
) -> ImageBatch:
    """Prepare photos for `network`, for use in several calls: `pixels` is (N, 3, H, W), mean-subtracted.

    `settings` are the keys of `images` on the command line (`deepinside.images.settings.ImageSettings`): `resize`,
    `enlarge`, `short_side`, `limit`, and for paths `recursive`, `labels` and `annotations`.

    `levels` are the values of black and white in arrays and tensors of floats, such as (0, 1); they are rounded to 256
    intensities.

    Raises DeepInsideError for unreadable photos and unknown settings.
    """
    check_network(network)
    if isinstance(photo, ImageBatch):
        return photo
    plain = {"resize": "short_side_crop", **settings}
    return read_inputs(photo, construct(ImageSettings, plain, "photos"), network.input, levels)


# ---- keyword arguments: the settings of each technique, all optional -------------------------------------------------

Optimiser = Momentum | AdaGrad | Adam | LBFGS | Mapping[str, Any] | Literal["momentum", "adagrad", "adam", "lbfgs"]
Energy = Mahendran2014 | Mahendran2016 | Mapping[str, Any] | Literal["mahendran2014", "mahendran2016"]

AverageSetting = Average | Mapping[str, Any] | Literal["none", "smooth_grad", "integrated_gradients"]


class ClassModelSettings(TypedDict, total=False):
    objective: Objective
    contrast: float
    l2: float | None
    start: Literal["zero", "mean", "noise", "photo"]
    noise: float
    parametrisation: Parametrisation
    p_norm: float
    total_variation: float
    jitter: float
    rotation: float
    scaling: float
    blur: float
    blur_every: int
    display: Literal["clip", "min_max"]
    optimiser: Optimiser


class PhotoSettings(TypedDict, total=False):
    """`targets` has one target per photo; `levels` as in `photos`."""

    targets: Sequence[str | int]
    levels: tuple[float, float]


class SaliencySettings(PhotoSettings, total=False):
    objective: Objective
    show: Show
    crops: Literal["centre", "ten"]
    relu_rule: ReluRule
    average: AverageSetting


class LayerGradientsSettings(PhotoSettings, total=False):
    objective: Objective
    layers: Literal["caffe", "all"] | Sequence[str]


class InversionSettings(TypedDict, total=False):
    levels: tuple[float, float]
    layers: str | Sequence[str]
    energy: Energy
    restarts: int
    safeguard: bool
    layers_at_once: int
    stretched: bool
    neighbourhood: int | None
    channels: Literal["all", "first_half", "second_half"]
    optimiser: Optimiser


class LocalisationSettings(PhotoSettings, total=False):
    crops: Literal["centre", "ten"]
    relu_rule: ReluRule
    foreground: float
    background: float
    components: int
    smoothness: float
    foreground_seeds: float | None
    background_seeds: float | None
    least_mass: float
    piece: Literal["salient", "largest"]
    threshold: float
    usual_size: tuple[float, float]
    map_levels: tuple[float, float, float]
    centre_levels: tuple[float, float, float]


class RandomisationSettings(PhotoSettings, total=False):
    rules: Sequence[ReluRule]
    stages: int
    order: Order
    average: AverageSetting


class FaithfulnessSettings(PhotoSettings, total=False):
    relu_rule: ReluRule
    average: AverageSetting
    steps: int
    blur: float


class OcclusionSettings(PhotoSettings, total=False):
    objective: Objective
    side: float
    stride: float


class FoolingSettings(PhotoSettings, total=False):
    steps: int
    overshoot: float


# ---- the techniques --------------------------------------------------------------------------------------------------


def class_model(
    network: Network, targets: str | int | Sequence[str | int], *, photo: Photos | None = None, seed: int = 0,
    judge: Network | None = None, **settings: Unpack[ClassModelSettings],
) -> Results:  # fmt: skip
    """The image that maximises a class score, one result per target: `image` (3, H, W), RGB intensities 0–255.

    arg max over I of S_c(I) subject to RMS(I) ≤ `contrast`, or of S_c(I) − l2·‖I‖² if `l2` is set; Simonyan et al.
    2013, eq. 1. A target is a class (name, index or WordNet id), a group such as "cats", or a unit `layer:channel`.
    `start="photo"` starts from `photo`. `trace` has the score, the penalty and the gradient's norm at every step.
    `judge` is another network; the metrics `judge_top1` and `judge_top5` say whether it recognises the image.
    Settings: `deepinside.techniques.class_model.ClassModel`.
    """
    several = targets if isinstance(targets, list | tuple) else (targets,)
    if judge is not None:
        check_network(judge)
    return run_technique("class_model", network, photo, seed, {"targets": several, **settings}, judge)


def saliency(
    network: Network, photo: Photos, target: str | int | Sequence[str | int] | None = None, *, seed: int = 0,
    **settings: Unpack[SaliencySettings],
) -> Results:  # fmt: skip
    """How strongly each pixel affects a class score, one result per photo: `map` (H, W), score per intensity step.

    M = max over channels of |∂S_c/∂I|, Simonyan et al. 2013, Sect. 3.1; with `relu_rule` "deconvnet" or "guided" that
    of Sect. 4 (and Springenberg et al. 2014). `target` is a class, a group, a unit, "top1" (the default), "topK" or
    "true". With `crops="ten"`, photos are loaded 1.143 times larger.
    Settings: `deepinside.techniques.saliency.Saliency`.
    """
    return run_technique("saliency", network, photo, seed, with_target(target, settings))


def layer_gradients(
    network: Network, photo: Photos, target: str | int | None = None, *, seed: int = 0,
    **settings: Unpack[LayerGradientsSettings],
) -> Results:  # fmt: skip
    """∂S_c/∂(activation) at `layers`, one result per photo and layer: channel grids `gradient` and `activation`.

    After the Caffe class project's third exercise. Settings: `deepinside.techniques.layer_gradients.LayerGradients`.
    """
    return run_technique("layer_gradients", network, photo, seed, with_target(target, settings))


def inversion(network: Network, photo: Photos, *, seed: int = 0, **settings: Unpack[InversionSettings]) -> Results:
    """Reconstruct photos from their representations, one result per photo: `images` by layer, (3, H, W).

    arg min over x of ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² + R(x), Mahendran & Vedaldi 2014, eq. 1; with energy and optimiser
    "mahendran2016" their later version. `metrics` has each layer's normalised error, PSNR and SSIM.
    Settings: `deepinside.techniques.inversion.Inversion`.
    """
    return run_technique("inversion", network, photo, seed, settings)


def localisation(
    network: Network, photo: Photos, target: str | int | None = None, *, seed: int = 0,
    **settings: Unpack[LocalisationSettings],
) -> Results:  # fmt: skip
    """Locate the object, one result per photo and class: `box` (4,), `mask` (H, W) and `map` (H, W).

    Colour models of the most and least salient pixels and one GraphCut, Simonyan et al. 2013, Sect. 3.2. Photos
    with box annotations (`photos(…, annotations=…)`) are scored.
    Settings: `deepinside.techniques.localisation.Localisation`.
    """
    return run_technique("localisation", network, photo, seed, with_target(target, settings))


def randomisation(
    network: Network, photo: Photos, target: str | int | None = None, *, seed: int = 0,
    **settings: Unpack[RandomisationSettings],
) -> Results:  # fmt: skip
    """Whether maps change when weights are randomised, one result per photo and rule; similarity as `trace`.

    Adebayo et al. 2018, Sect. 3.1. Settings: `deepinside.techniques.randomisation.Randomisation`.
    """
    return run_technique("randomisation", network, photo, seed, with_target(target, settings))


def faithfulness(
    network: Network, photo: Photos, target: str | int | None = None, *, seed: int = 0,
    **settings: Unpack[FaithfulnessSettings],
) -> Results:  # fmt: skip
    """Deletion and insertion curves of saliency maps, one result per photo: posteriors (steps + 1,) as `trace`.

    Petsiuk et al. 2018, Sect. 4.1. Settings: `deepinside.techniques.faithfulness.Faithfulness`.
    """
    return run_technique("faithfulness", network, photo, seed, with_target(target, settings))


def occlusion(
    network: Network, photo: Photos, target: str | int | None = None, *, seed: int = 0,
    **settings: Unpack[OcclusionSettings],
) -> Results:  # fmt: skip
    """How far the class score falls when a square of the photo is covered, one result per photo: `map` (H, W).

    Zeiler & Fergus 2013, Sect. 4.2. Settings: `deepinside.techniques.occlusion.Occlusion`.
    """
    return run_technique("occlusion", network, photo, seed, with_target(target, settings))


def fooling(
    network: Network, photo: Photos, target: str | int | None = None, *, seed: int = 0,
    judge: Network | None = None, **settings: Unpack[FoolingSettings],
) -> Results:  # fmt: skip
    """The photo changed a little until it is classified as the target, one result per photo: `images["fooling"]`.

    Szegedy et al. 2013, by the steps of Moosavi-Dezfooli et al. 2016. `target` is "second" (the default), "random",
    "least", a class or a group. `judge` is another network; `judge_top1` says whether it is fooled, too.
    Settings: `deepinside.techniques.fooling.Fooling`.
    """
    if judge is not None:
        check_network(judge)
    return run_technique("fooling", network, photo, seed, with_target(target, settings), judge)


# ---- implementation --------------------------------------------------------------------------------------------------


def run_technique(
    name: str, network: Network, photo: Photos | None, seed: int, settings: Mapping[str, Any],
    judge: Network | None = None,
) -> Results:  # fmt: skip
    """Check everything, then run the technique on batches of `BATCH_SIZE` photos."""
    check_network(network)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DeepInsideError(f"seed: expected an integer of at least 0, found {seed!r}.")
    plain = dict(settings)
    levels, targets = plain.pop("levels", None), plain.pop(PER_PHOTO, None)
    techniques = [checked_technique(name, network, {**plain, **one}) for one in target_settings(targets)]
    room = {"enlarge": SHORT_SIDE_PER_CROP} if plain.get("crops") == "ten" else {}
    batch = no_images(network) if photo is None else photos(network, photo, levels=levels, **room)
    if targets is not None and len(targets) != len(batch):
        raise DeepInsideError(f"targets: expected one per photo, {len(batch)} in all, found {len(targets)}.")
    parts = split_batch(batch, network) if targets is None else split_batch(batch, network, 1)
    with deterministic(network.device):
        outputs = [
            with_recognition(technique(network, part, Seeds(seed)), network, part, judge)
            for technique, part in zip(cycle(techniques), parts, strict=False)
        ]
    return Results.of(name, network.name, outputs, network.notes)


PER_PHOTO = "targets of photos"
"""The settings' key for one target per photo; a class model's `targets` are something else."""


def with_target(target: str | int | Sequence[str | int] | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the positional `target` and the `targets` of photos. Raises DeepInsideError for both."""
    found = {name: value for name, value in settings.items() if name != "targets"}
    targets = settings.get("targets")
    if target is not None and targets is not None:
        raise DeepInsideError("target: expected either target, for all photos, or targets, one per photo; found both.")
    found |= {"target": target} if target is not None else {}
    return found | ({PER_PHOTO: targets} if targets is not None else {})


def target_settings(targets: Sequence[str | int] | None) -> list[dict[str, Any]]:
    return [{}] if targets is None else [{"target": one} for one in targets]


def checked_technique(name: str, network: Network, settings: Mapping[str, Any]) -> Technique:
    technique = defaults.technique(name, network.size, settings)
    technique.check(network)
    return technique


def no_images(network: Network) -> ImageBatch:
    """An empty batch, for class models that do not start from a photo."""
    return ImageBatch((), network.mean.new_zeros(0, network.input.count, *network.size))


def check_network(network: object) -> None:
    if not isinstance(network, Network):
        raise DeepInsideError(f"network: expected a network from deepinside.load, found {network!r}.")


def split_batch(batch: ImageBatch, network: Network, size: int = BATCH_SIZE) -> Iterator[ImageBatch]:
    """Batches of `size` photos on the network's device; one empty batch without photos."""
    for first in range(0, max(len(batch), 1), size):
        some = slice(first, first + size)
        yield ImageBatch(batch.photos[some], pixels_to_device(batch.pixels[some], network))


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Use deterministic algorithms in the block, and restore the previous setting afterwards."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error" if device.type == "cpu" else "warn")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
