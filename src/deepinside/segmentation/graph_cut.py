"""From a saliency map to a mask and a box: colour models and one graph cut.

Simonyan et al. 2013, Sect. 3.2: a Gaussian mixture of the colours of the most salient pixels, another of the least
salient ones, one GraphCut (Boykov and Jolly 2001) over all pixels with these two models fixed, and the box around the
largest connected piece of foreground; and baseline boxes to compare it with.

Minimum cut, labelling and seeding are scipy's and scikit-learn's. The mixtures are fitted here because an iteration on
three colours is two small matrix products; scikit-learn's general fit, the oracle in the tests, takes four to five
times as long, and five classes per photo need ten fits.

Photos are (h, w, 3) uint8 RGB, saliency maps (h, w) and not negative, masks (h, w) bool, boxes (x0, y0, x1, y1) in
pixel edges: x1 and y1 are not in the box, so a box's area is (x1 - x0)(y1 - y0) and the whole image is (0, 0, w, h).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from scipy.spatial.distance import cdist
from sklearn.cluster import kmeans_plusplus

from deepinside.errors import DeepInsideError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]

# Added to every variance, in squared intensities: a flat region still has a colour model, one intensity wide.
_LEAST_VARIANCE = 1.0
# Edge capacities are integers (scipy's maximum flow): this many per unit of energy, if they fit.
_STEPS_PER_UNIT = 10_000
_LARGEST_CAPACITY = 2**30
_AUTHORS_SIDE = 256
_EVERY_NEIGHBOUR = np.ones((3, 3))
_ROW, _COLUMN = np.triu_indices(3)


@dataclass(frozen=True)
class Mixture:
    """A mixture of K Gaussians over RGB colours in 0-255: `weights` (K,), `means` (K, 3), `covariances` (K, 3, 3)."""

    weights: Array
    means: Array
    covariances: Array

    def log_density(self, colours: NDArray[Any]) -> Array:
        """Logarithm (nats) of the density at `colours` (..., 3); the result has the leading shape."""
        centre = self.means.mean(0)
        features = _quadratic(colours.reshape(-1, 3) - centre)
        logs, _ = _normalise(features @ _coefficients(self.weights, self.means - centre, self.covariances))
        return logs.reshape(colours.shape[:-1])


@dataclass(frozen=True)
class ColourModels:
    """The mixtures of the object's colours and of the other colours."""

    foreground: Mixture
    background: Mixture


@dataclass(frozen=True)
class Constraints:
    """Keeps the cut at the pixels that the map marks; a cut by colour alone may collapse to a pixel.

    Pixels at or above the quantile `foreground_seeds` of the map are fixed as foreground, those below the quantile
    `background_seeds` as background; None fixes none. The mask must contain `least_mass` of the map's sum over the
    pixels of the foreground's colour model; otherwise the border's weight is halved and the photo is cut again, at most
    `HALVINGS` times, and then the mask with the largest mass is taken. 0 disables this. `piece` is the connected
    piece that is the object: the one with most of the map's mass ("salient"), or with most pixels ("largest").
    """

    foreground_seeds: float | None = 0.995
    background_seeds: float | None = 0.005
    least_mass: float = 0.7
    piece: Literal["salient", "largest"] = "salient"


DEFAULT = Constraints()
AS_PUBLISHED = Constraints(None, None, 0.0, "largest")
"""As described in the paper."""
HALVINGS = 6
LEAST_SHARE, MOST_SHARE = 0.005, 0.99
"""A mask that covers a smaller or larger share of the photo counts as no object found."""


@dataclass(frozen=True)
class Segmentation:
    """`mask` is the object's connected piece, `box` its bounding box. `found` is False if there is no object; mask and
    box are then the whole image. `halvings` is how often the border's weight was halved."""

    mask: Mask
    box: Box
    found: bool
    halvings: int = 0


def segment(
    photo: NDArray[np.uint8],
    saliency: NDArray[Any],
    *,
    foreground_quantile: float = 0.95,
    background_quantile: float = 0.30,
    components: int = 5,
    smoothness: float = 150.0,
    constraints: Constraints = DEFAULT,
    seed: int = 0,
) -> Segmentation:
    """The object that `saliency` points at (Simonyan et al. 2013, Sect. 3.2).

    `smoothness` is for a photo whose shorter side is 256 pixels, for which the authors used 150, and is scaled with the
    side: a border's length grows with the side and an area with its square, so a value means the same at every size.
    No object is found if the map is constant, if the photo has one colour, or if the mask is below `LEAST_SHARE` or
    above `MOST_SHARE` of the photo, is one pixel, or contains less than half of `constraints.least_mass`. The result is
    then the whole image with `found` False.
    """
    models = colour_models(
        photo,
        saliency,
        foreground_quantile=foreground_quantile,
        background_quantile=background_quantile,
        components=components,
        seed=seed,
    )
    if models is None or not (balance := _balance(photo, models)).any():
        return Segmentation(np.ones(photo.shape[:2], dtype=bool), whole_image(photo.shape[:2]), False)
    marked, _ = most_and_least(saliency, foreground=foreground_quantile, background=background_quantile)
    weight = smoothness * min(balance.shape) / _AUTHORS_SIDE
    return _cut_with_mass(photo, saliency, balance, marked, weight, constraints)


def _cut_with_mass(
    photo: NDArray[np.uint8],
    saliency: NDArray[Any],
    balance: Array,
    marked: Mask,
    smoothness: float,
    constraints: Constraints,
) -> Segmentation:
    """The piece of the first cut with enough of the map's mass on `marked` pixels, else of the cut with most."""
    pairs, ties, total = _pairs(photo, 1.0), seeds(saliency, constraints), saliency[marked].sum()
    best, most = Segmentation(np.zeros_like(marked), whole_image(marked.shape), False), -1.0
    for halvings in range(HALVINGS + 1):
        cut = _minimum_cut(balance, pairs, smoothness / 2**halvings, ties)
        mask = salient_component(cut, saliency) if constraints.piece == "salient" else largest_component(cut)
        mass = float(saliency[mask & marked].sum() / total)
        if mass > most and _is_object(mask):
            best, most = Segmentation(mask, bounding_box(mask), True, halvings), mass
        if constraints.least_mass == 0 or most >= constraints.least_mass:
            break
    if best.found and most >= constraints.least_mass / 2:
        return best
    return Segmentation(np.ones_like(marked), whole_image(marked.shape), False, best.halvings)


def _is_object(mask: Mask) -> bool:
    return bool(mask.sum() > 1 and LEAST_SHARE <= mask.mean() <= MOST_SHARE)


def seeds(saliency: NDArray[Any], constraints: Constraints) -> tuple[Mask, Mask]:
    """The pixels fixed as foreground and those fixed as background; none is both.

    In a map with many equal values, such as zeros, those at the lower quantile are not fixed.
    """
    _check_saliency(saliency, saliency.shape)
    none = np.zeros(saliency.shape, dtype=bool)
    front = (
        none
        if constraints.foreground_seeds is None
        else saliency >= np.quantile(saliency, constraints.foreground_seeds)
    )
    back = (
        none if constraints.background_seeds is None else saliency < np.quantile(saliency, constraints.background_seeds)
    )
    return np.asarray(front & (saliency > saliency.min())), np.asarray(back & ~front)


def colour_models(
    photo: NDArray[np.uint8],
    saliency: NDArray[Any],
    *,
    foreground_quantile: float = 0.95,
    background_quantile: float = 0.30,
    components: int = 5,
    seed: int = 0,
) -> ColourModels | None:
    """Colour models of the most and the least salient pixels; the pixels between the two quantiles fit neither.

    Simonyan et al. 2013, Sect. 3.2; five Gaussians each as in the authors' later work. Pixels on a quantile belong to
    it (maps with many equal values would leave it empty otherwise), those on both to the background. A set with fewer
    distinct colours than `components` gets one Gaussian a colour. None where no pixel is more salient than the
    background, as in a constant map. The same `seed` gives the same models.
    """
    _check_photo(photo)
    _check_saliency(saliency, photo.shape[:2])
    salient, rest = most_and_least(saliency, foreground=foreground_quantile, background=background_quantile)
    if not salient.any():
        return None
    return ColourModels(
        fit_mixture(photo[salient], components=components, seed=seed),
        fit_mixture(photo[rest], components=components, seed=seed),
    )


def most_and_least(saliency: NDArray[Any], *, foreground: float = 0.95, background: float = 0.30) -> tuple[Mask, Mask]:
    """The pixels on or above the quantile `foreground` of the map, and those on or below the quantile `background`."""
    _check_saliency(saliency, saliency.shape)
    if not 0 <= background < foreground <= 1:
        raise DeepInsideError(
            f"The quantiles must be 0 ≤ background < foreground ≤ 1, found {background} and {foreground}."
        )
    low, high = np.quantile(saliency, [background, foreground])
    return np.asarray((saliency >= high) & (saliency > low)), np.asarray(saliency <= low)


def fit_mixture(
    colours: NDArray[Any], *, components: int = 5, seed: int = 0, tolerance: float = 1e-2, steps: int = 100
) -> Mixture:
    """The mixture of at most `components` Gaussians that makes `colours` (n, 3) likely, by expectation-maximisation.

    Starts from k-means++ seeds, each colour with its nearest; stops when a step gains less than `tolerance` nats a
    pixel, or after `steps`.
    """
    if components < 1 or len(colours) < 1:
        raise DeepInsideError(
            f"A colour model needs at least one component and one pixel, found {components} and {len(colours)}; "
            "raise `components` or widen the quantiles."
        )
    centre = colours.mean(0, dtype=np.float64)
    centred = colours - centre  # keeps the second moments small, so that their differences stay exact
    features, shares, last = _quadratic(centred), _nearest_seed(centred, components, seed), -np.inf
    for _ in range(steps):
        weights, means, covariances = _moments(features, shares)
        logs, shares = _normalise(features @ _coefficients(weights, means, covariances))
        if logs.mean() - last < tolerance:
            break
        last = logs.mean()
    return Mixture(weights, means + centre, covariances)


def graph_cut(photo: NDArray[np.uint8], models: ColourModels, *, smoothness: float) -> Mask:
    """The mask of minimum energy under fixed colour models, exactly: one minimum cut over all pixels.

    Energy of a mask (Boykov and Jolly 2001, with the terms of Rother et al. 2004, GrabCut): the sum over pixels of
    -log p(colour) under the model of the side the pixel is on, plus, for each of the pairs among the 8 neighbours
    that the mask separates, `smoothness` / distance · exp(-|difference of colours|² / 2 mean |difference|²).
    50 is GrabCut's weight; for the authors' see `segment`. No pixel is fixed: saliency enters only through the colours;
    `segment` fixes some. Among masks of equal energy the smallest is returned.
    """
    _check_photo(photo)
    nothing = np.zeros(photo.shape[:2], dtype=bool)
    return _minimum_cut(_balance(photo, models), _pairs(photo, 1.0), smoothness, (nothing, nothing))


def energy(photo: NDArray[np.uint8], models: ColourModels, mask: Mask, *, smoothness: float) -> float:
    """The energy of `mask` that `graph_cut` minimises, in nats."""
    own = np.where(mask, -models.foreground.log_density(photo), -models.background.log_density(photo))
    first, second, weights = _pairs(photo, smoothness)
    flat = mask.ravel()
    return float(own.sum() + weights[flat[first] != flat[second]].sum())


def largest_component(mask: Mask) -> Mask:
    """The largest piece of `mask` connected through the 8 neighbours; of equal ones the first in reading order."""
    labels, count = ndimage.label(mask, structure=_EVERY_NEIGHBOUR)
    if count < 2:
        return mask.copy()
    sizes = np.bincount(labels.ravel())[1:]
    return np.asarray(labels == 1 + sizes.argmax())


def salient_component(mask: Mask, saliency: NDArray[Any]) -> Mask:
    """The piece of `mask` connected through the 8 neighbours that holds most of the map's mass; the first of equals."""
    labels, count = ndimage.label(mask, structure=_EVERY_NEIGHBOUR)
    if count < 2:
        return mask.copy()
    masses = np.bincount(labels.ravel(), weights=saliency.ravel().astype(np.float64))[1:]
    return np.asarray(labels == 1 + masses.argmax())


def bounding_box(mask: Mask) -> Box:
    """The smallest box around `mask`, in pixel edges; the whole image if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return whole_image(mask.shape)
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def threshold_mask(saliency: NDArray[Any], *, level: float, of: Literal["quantile", "maximum"] = "quantile") -> Mask:
    """Where `saliency` is at least its quantile `level`, or at least `level` times its maximum.

    The mask of a constant map is the whole image.
    """
    _check_saliency(saliency, saliency.shape)
    if not 0 <= level <= 1:
        raise DeepInsideError(f"A threshold's level must be in 0..1, found {level}.")
    limit = np.quantile(saliency, level) if of == "quantile" else level * saliency.max()
    return np.asarray(saliency >= limit)


def threshold_box(saliency: NDArray[Any], *, level: float, of: Literal["quantile", "maximum"] = "quantile") -> Box:
    """The box around every pixel of `threshold_mask`: localisation without colours, the baseline."""
    return bounding_box(threshold_mask(saliency, level=level, of=of))


def whole_image(shape: tuple[int, ...]) -> Box:
    """The box of an image of `shape` (h, w): the baseline that needs no map."""
    return 0.0, 0.0, float(shape[1]), float(shape[0])


def centred_box(shape: tuple[int, ...], *, size: tuple[float, float] = (0.7, 0.7)) -> Box:
    """A box in the middle of an image of `shape` (h, w); `size` is its width and height as shares of the image's."""
    width, height = _pixels(shape, size)
    left, top = (shape[1] - width) / 2, (shape[0] - height) / 2
    return left, top, left + width, top + height


def random_box(shape: tuple[int, ...], *, size: tuple[float, float], generator: np.random.Generator) -> Box:
    """A box of `size` (shares of width and height), at a uniformly random position in an image of `shape` (h, w)."""
    width, height = _pixels(shape, size)
    across, down = generator.random(2)
    left, top = across * (shape[1] - width), down * (shape[0] - height)
    return left, top, left + width, top + height


def baselines(shape: tuple[int, ...], *, size: tuple[float, float], seed: int) -> dict[str, Box]:
    """Boxes that need no map: the whole image, and of `size` (shares) one in the middle and one at random."""
    return {
        "whole_image": whole_image(shape),
        "centre": centred_box(shape, size=size),
        "random": random_box(shape, size=size, generator=np.random.default_rng(seed)),
    }


def _pixels(shape: tuple[int, ...], size: tuple[float, float]) -> tuple[float, float]:
    if not all(0 < share <= 1 for share in size):
        raise DeepInsideError(f"A box's width and height must be shares of the image's in 0..1, found {size}.")
    return size[0] * shape[1], size[1] * shape[0]


def _check_photo(photo: NDArray[Any]) -> None:
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise DeepInsideError(f"A photo must be (h, w, 3) uint8, found {photo.shape} {photo.dtype}.")


def _check_saliency(saliency: NDArray[Any], shape: tuple[int, ...]) -> None:
    if saliency.shape != shape or saliency.ndim != 2:
        raise DeepInsideError(f"A saliency map must have its photo's height and width {shape}, found {saliency.shape}.")
    if not np.isfinite(saliency).all() or (saliency < 0).any():
        raise DeepInsideError("A saliency map must be finite and not negative; take the magnitude of the gradient.")


def _quadratic(colours: Array) -> Array:
    """(n, 3) → (n, 10): 1, the colour, its products. A Gaussian's logarithm is linear in these."""
    ones = np.ones((len(colours), 1))
    return np.concatenate([ones, colours, colours[:, _ROW] * colours[:, _COLUMN]], axis=1)


def _coefficients(weights: Array, means: Array, covariances: Array) -> Array:
    """(10, K): `_quadratic(z) @ _coefficients(…)` is log(weight · normal density) of every component."""
    precisions = np.linalg.inv(covariances)
    linear = np.einsum("kij,kj->ki", precisions, means)
    constant = np.log(weights) + 0.5 * np.linalg.slogdet(precisions)[1] - 1.5 * np.log(2 * np.pi)
    constant = constant - 0.5 * (means * linear).sum(1)
    twice = np.where(_ROW == _COLUMN, -0.5, -1.0)  # an off-diagonal product stands for two entries
    return np.concatenate([constant[:, None], linear, precisions[:, _ROW, _COLUMN] * twice], axis=1).T


def _normalise(logs: Array) -> tuple[Array, Array]:
    """(n, K) → the log of the sum over components (n,), and each component's share of it (n, K)."""
    largest = logs.max(1, keepdims=True)
    shares = np.exp(logs - largest)
    total = shares.sum(1, keepdims=True)
    return (largest + np.log(total))[:, 0], shares / total


def _moments(features: Array, shares: Array) -> tuple[Array, Array, Array]:
    """Weights, means and covariances of components with these `shares` of the colours."""
    sums = shares.T @ features
    counts = sums[:, 0] + 10 * np.finfo(float).eps  # no division by zero for a component without colours
    means, second = sums[:, 1:4] / counts[:, None], sums[:, 4:] / counts[:, None]
    covariances = np.empty((len(counts), 3, 3))
    covariances[:, _ROW, _COLUMN] = covariances[:, _COLUMN, _ROW] = second
    covariances += _LEAST_VARIANCE * np.eye(3) - means[:, :, None] * means[:, None, :]
    return counts / counts.sum(), means, covariances


def _nearest_seed(colours: Array, components: int, seed: int) -> Array:
    """(n, K) of 0 and 1: the initial component of each colour."""
    count = min(components, len(np.unique(colours, axis=0)))
    seeds, _ = kmeans_plusplus(colours, count, random_state=seed)
    return np.eye(count)[cdist(colours, seeds, "sqeuclidean").argmin(1)]


def _balance(photo: NDArray[np.uint8], models: ColourModels) -> Array:
    """(h, w): log density (nats) of each pixel under the foreground minus that under the background."""
    return models.foreground.log_density(photo) - models.background.log_density(photo)


def _neighbours(indices: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], float]]:
    """Every pair of 8-neighbours once, as two arrays of pixel numbers, with the distance between them."""
    yield indices[:, :-1], indices[:, 1:], 1.0
    yield indices[:-1], indices[1:], 1.0
    yield indices[:-1, :-1], indices[1:, 1:], np.sqrt(2)
    yield indices[:-1, 1:], indices[1:, :-1], np.sqrt(2)


def _pairs(photo: NDArray[np.uint8], smoothness: float) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Neighbouring pixels and the cost of separating them."""
    colours = photo.reshape(-1, 3).astype(np.float64)
    parts = [
        (a.ravel(), b.ravel(), np.full(a.size, distance))
        for a, b, distance in _neighbours(np.arange(len(colours)).reshape(photo.shape[:2]))
    ]
    first, second, distances = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    contrast = ((colours[first] - colours[second]) ** 2).sum(1)
    usual = contrast.mean() if contrast.any() else 1.0  # one colour only: no contrast to scale
    return first, second, smoothness / distances * np.exp(-contrast / (2 * usual))


def _minimum_cut(balance: Array, pairs: tuple[Any, Any, Array], smoothness: float, ties: tuple[Mask, Mask]) -> Mask:
    """The mask of minimum energy; `pairs` are for smoothness 1, `ties` the pixels fixed as fore- and background."""
    if not (np.isfinite(smoothness) and smoothness >= 0):
        raise DeepInsideError(f"smoothness must be a finite number of at least 0, found {smoothness}; 150 is usual.")
    # A pixel whose own term exceeds all its neighbours' together is decided by it, so larger terms change nothing.
    bound = 8 * smoothness + 1
    own = np.where(ties[0], bound, np.where(ties[1], -bound, np.clip(balance, -bound, bound)))
    first, second, weights = pairs
    graph = _graph(own, first, second, smoothness * weights)
    flow = maximum_flow(graph, balance.size, balance.size + 1, method="dinic").flow
    return _source_side(graph - flow).reshape(balance.shape)


def _graph(balance: Array, first: NDArray[np.intp], second: NDArray[np.intp], weights: Array) -> csr_array:
    """Pixels, then the source (foreground) and the sink (background), with integer capacities."""
    own = balance.ravel()
    source, sink = own.size, own.size + 1
    front, back = np.flatnonzero(own > 0), np.flatnonzero(own < 0)
    rows = np.concatenate([first, second, np.full(front.size, source), back])
    columns = np.concatenate([second, first, front, np.full(back.size, sink)])
    capacities = np.concatenate([weights, weights, own[front], -own[back]])
    scale = min(_STEPS_PER_UNIT, _LARGEST_CAPACITY / max(np.abs(own).sum(), weights.max(initial=1.0)))
    integers = np.rint(capacities * scale).astype(np.int32)
    return csr_array((integers, (rows, columns)), shape=(own.size + 2, own.size + 2))


def _source_side(residual: csr_array) -> Mask:
    """(pixels,): which are reachable from the source at maximum flow."""
    residual.data[residual.data < 0] = 0
    residual.eliminate_zeros()
    pixels = residual.shape[0] - 2
    reached = np.zeros(pixels + 2, dtype=bool)
    reached[breadth_first_order(residual, pixels, return_predecessors=False)] = True
    return reached[:pixels]
