"""Claims of Mahendran & Vedaldi 2014 (arXiv 1412.0035) on what representations preserve of a photo, as code."""

import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch

from deepinside.claims.registry import Evidence, Measurement, NotMeasuredError, claim, needs
from deepinside.claims.simonyan import ratio_of_means
from deepinside.errors import DeepInsideError
from deepinside.metrics.intervals import Values
from deepinside.metrics.similarity import rank_correlation
from deepinside.networks.network import Network
from deepinside.techniques.inversion import Inversion, chosen_layers, has_two_groups
from deepinside.types import safe_name


def require_two_layers(network: Network, techniques: Mapping[str, Any]) -> None:
    """Refuse a run whose first variant does not invert at least two layers."""
    count = len(inverted_layers(network, techniques))
    if count < 2:
        raise DeepInsideError(
            f"claims: expected at least two inverted layers, found {count}; use technique=inversion, more "
            "technique.layers, or claims=[]."
        )


def require_last_spatial_layer(network: Network, techniques: Mapping[str, Any]) -> None:
    """Refuse a run whose first variant does not invert the network's last spatial layer."""
    require_two_layers(network, techniques)
    last, found = last_spatial_layer(network), inverted_layers(network, techniques)
    if last not in found:
        raise DeepInsideError(
            f"claims: expected {last}, the last spatial layer, among the inverted layers, found "
            f"{', '.join(found)}; add it to technique.layers or set claims=[]."
        )


def require_layers(*layers: str) -> Callable[[Network, Mapping[str, Any]], None]:
    """A check that refuses a run whose first variant does not invert these layers."""

    def check(network: Network, techniques: Mapping[str, Any]) -> None:
        require_two_layers(network, techniques)
        missing = sorted({*layers} - {*inverted_layers(network, techniques)})
        if missing:
            raise DeepInsideError(
                f"claims: expected {', '.join(missing)} among the inverted layers of {network.name}; use "
                "network=hog_sift, add them to technique.layers, or set claims=[]."
            )

    return check


def inverted_layers(network: Network, techniques: Mapping[str, Any]) -> list[str]:
    """Names of the layers that a run's first variant inverts."""
    first = next(iter(techniques.values()), None)
    return list(chosen_layers(first.layers, network).values()) if isinstance(first, Inversion) else []


def last_spatial_layer(network: Network) -> str:
    """The last layer whose maps are larger than 1×1: in CaffeNet, pool5."""
    maps = [name for name, one in network.layers.items() if len(one.shape) == 3 and max(one.shape[1:]) > 1]
    if not maps:
        raise DeepInsideError(
            f"claims: expected a layer with maps larger than 1×1, {network.name} has none; set claims=[]."
        )
    return maps[-1]


@claim
@needs(require_two_layers)
def inversion_loses_pixels_not_representation(evidence: Evidence) -> Measurement:
    """Spearman's rank correlation of a reconstruction's PSNR with the depth of its layer, for each photo."""
    depths = torch.arange(len(by_depth(evidence, "psnr")))
    found = [rank_correlation(depths, torch.from_numpy(row)) for row in values_by_depth(evidence, "psnr")]
    return Measurement(np.array(found)[:, None])


@claim
@needs(require_two_layers)
def inversion_matches_every_layer(evidence: Evidence) -> Measurement:
    """The largest normalised error of the representation among the inverted layers; each is a mean over photos."""
    return Measurement(values_by_depth(evidence, "error"), largest_mean)


@claim
@needs(require_last_spatial_layer)
def inversion_matches_pool5(evidence: Evidence) -> Measurement:
    """The normalised error at the last spatial layer (CaffeNet's pool5)."""
    layer, errors = last_spatial_layer(evidence.network), by_depth(evidence, "error")
    if layer not in errors:
        raise NotMeasuredError(f"{layer} was not inverted; it is zero everywhere for these photos")
    return Measurement(evidence.values(errors[layer]))


@claim
@needs(require_layers("hog"))
def hog_error(evidence: Evidence) -> Measurement:
    """The distance between the representations of a reconstruction and its photo, for HOG; see `distances`."""
    return Measurement(distances(evidence, "hog"))


@claim
@needs(require_layers("hogb"))
def hogb_error(evidence: Evidence) -> Measurement:
    """The same for HOG with bilinear orientations."""
    return Measurement(distances(evidence, "hogb"))


@claim
@needs(require_layers("dsift"))
def dsift_error(evidence: Evidence) -> Measurement:
    """The same for dense SIFT."""
    return Measurement(distances(evidence, "dsift"))


@claim
@needs(require_layers("hog", "hogb"))
def bilinear_orientations_invert_better(evidence: Evidence) -> Measurement:
    """The distance for HOG with bilinear orientations over that for HOG, a ratio of means over photos."""
    pairs = np.concatenate([distances(evidence, "hogb"), distances(evidence, "hog")], 1)
    return Measurement(pairs, ratio_of_means)


def distances(evidence: Evidence, layer: str) -> Values:
    """(photos, 1): ‖Φ(x) − Φ₀‖ / N of every photo, where N is the mean distance between the Φ₀ of two photos.

    Mahendran & Vedaldi 2014, Sect. 5.1. Raises NotMeasuredError unless all photos are in one batch of at least two.
    """
    relative, batch = evidence.values(by_depth(evidence, "error")[layer])[:, 0], evidence.batch
    if len(relative) != len(batch) or len(batch) < 2:
        raise NotMeasuredError(f"it needs two photos or more in one batch, found {len(batch)} of {len(relative)}")
    with torch.no_grad():
        found = evidence.network.activations(batch.pixels, [layer])[layer].flatten(1).double()
    own = np.sqrt(relative) * found.norm(dim=1).cpu().numpy()
    return (own / float(torch.pdist(found).mean()))[:, None]


@claim
@needs(require_two_layers)
def first_layer_inverts_photographically(evidence: Evidence) -> Measurement:
    """Structural similarity of the photo and its reconstruction from the shallowest inverted layer."""
    return Measurement(evidence.values(next(iter(by_depth(evidence, "ssim").values()))))


@claim
def inversion_error_grows_with_lambda(evidence: Evidence) -> Measurement:
    """Normalised error under the largest weight of total variation minus that under the smallest."""
    strong, weak = (evidence.values(only(evidence, name, "error")) for name in ("lambda_100", "lambda_1"))
    return Measurement(strong - weak)


@claim
def smooth_variation_inverts_better(evidence: Evidence) -> Measurement:
    """PSNR of reconstructions with total variation's exponent β = 2 minus that with β = 1, in dB."""
    smooth, spikes = (evidence.values(only(evidence, name, "psnr")) for name in ("lambda_10", "beta_1"))
    return Measurement(smooth - spikes)


@claim
def inversions_from_any_start_match_the_code(evidence: Evidence) -> Measurement:
    """Normalised error from the worst of several random starts."""
    names = [name for name in sorted(evidence.columns) if re.search(r"/error_restart_\d+$", name)]
    if len(names) < 2:
        raise NotMeasuredError("it needs technique.restarts of at least 2")
    return Measurement(evidence.values(*names).max(1, keepdims=True))


@claim
def inversions_of_one_code_differ_in_pixels(evidence: Evidence) -> Measurement:
    """Root mean square difference of the reconstructions from two random starts, in intensities."""
    names = [name for name in evidence.columns if name.endswith("/restarts_apart")]
    if not names:
        raise NotMeasuredError("it needs technique.restarts of at least 2")
    return Measurement(evidence.values(*names).mean(1, keepdims=True))


@claim
@needs(require_two_layers)
def neighbourhoods_invert_locally(evidence: Evidence) -> Measurement:
    """The mean share of contrast in the receptive field of a neighbourhood, of layers where it is no complete image."""
    shares, fields = by_depth(evidence, "inside"), by_depth(evidence, "field")
    partial = [name for layer, name in shares.items() if (evidence.values(fields[layer]) < 1).all()]
    if not partial:
        raise NotMeasuredError("at every layer the neighbourhood's receptive field is the complete image")
    return Measurement(evidence.values(*partial).mean(1, keepdims=True))


@claim
@needs(require_two_layers)
def effective_field_is_smaller(evidence: Evidence) -> Measurement:
    """The smallest side of an effective receptive field over that of the theoretical one; means over photos."""
    return Measurement(values_by_depth(evidence, "effective_field"), smallest_mean)


@claim
def filter_groups_split_colour(evidence: Evidence) -> Measurement:
    """The larger share of colour over the smaller one, of reconstructions from the two halves of the channels."""
    return Measurement(by_half(evidence, "colour_share"), colour_ratio)


@claim
def filter_groups_split_frequency(evidence: Evidence) -> Measurement:
    """The frequency of the half with more colour over that of the other half."""
    return Measurement(by_half(evidence, "colour_share", "frequency"), frequency_ratio)


def by_half(evidence: Evidence, *measures: str) -> Values:
    """(photos, 2 · measures): the means over layers of the variants first_half and second_half, for each measure.

    Raises NotMeasuredError without these variants, or on a network whose channels are not in two groups.
    """
    if not has_two_groups(evidence.network):
        raise NotMeasuredError(f"{evidence.network.name} has no convolution in two groups of channels")
    variants = [(half, measure) for measure in measures for half in ("first_half", "second_half")]
    names = [
        [name for name in evidence.columns if name.startswith(f"{half}/") and name.endswith(f"/{measure}")]
        for half, measure in variants
    ]
    if not all(names):
        raise NotMeasuredError("it needs the variants first_half and second_half of technique.channels")
    found = evidence.values(*chain.from_iterable(names))
    parts = np.split(found, np.cumsum([len(those) for those in names])[:-1], 1)
    return np.stack([part.mean(1) for part in parts], 1)


def colour_ratio(values: Values) -> Values:
    """The larger mean of two columns over the smaller one."""
    means = values.mean(-2)
    return np.asarray(means.max(-1) / means.min(-1))


def frequency_ratio(values: Values) -> Values:
    """The mean frequency of the half with more colour over the other's; columns: both halves' colour and frequency."""
    colour, frequency = np.split(values.mean(-2), 2, -1)
    ratio = frequency[..., 0] / frequency[..., 1]
    return np.where(colour[..., 0] > colour[..., 1], ratio, 1 / ratio)


def only(evidence: Evidence, variant: str, measure: str) -> str:
    """The name of a variant's only metric of this kind. Raises NotMeasuredError if there are none or several."""
    found = [name for name in evidence.columns if name.startswith(f"{variant}/") and name.endswith(f"/{measure}")]
    if len(found) != 1:
        raise NotMeasuredError(f"it needs one inverted layer in the variant {variant}, found {len(found)}")
    return found[0]


def largest_mean(values: Values) -> Values:
    """The largest of the columns' means."""
    return np.asarray(values.mean(-2).max(-1))


def smallest_mean(values: Values) -> Values:
    """The smallest of the columns' means."""
    return np.asarray(values.mean(-2).min(-1))


def values_by_depth(evidence: Evidence, measure: str) -> Values:
    """(photos, layers): `measure` of the run's first variant, from the shallowest layer to the deepest."""
    return evidence.values(*by_depth(evidence, measure).values())


def by_depth(evidence: Evidence, measure: str) -> dict[str, str]:
    """The names of the metrics `measure` of the run's first variant by layer, from the shallowest to the deepest.

    Raises NotMeasuredError if fewer than two layers were inverted, because the others are zero everywhere.
    """
    first = next(iter(evidence.techniques), "")
    start, end = f"{first}/" if first else "", f"/{measure}"
    layers = {safe_name(name): name for name in [*evidence.network.synonyms, *evidence.network.layers]}
    order = list(evidence.network.layers)
    found = {
        order.index(evidence.network.resolve(layers[name[len(start) : -len(end)]])): name
        for name in evidence.columns if name.startswith(start) and name.endswith(end)
    }  # fmt: skip
    if len(found) < 2:
        raise NotMeasuredError(f"{measure} of at least two layers is needed, {len(found)} could be inverted")
    return {order[depth]: found[depth] for depth in sorted(found)}
