"""The colour models, the cut and the boxes against plainer ways of getting the same answer."""

import itertools
import warnings

import cv2
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from deepinside.errors import DeepInsideError
from deepinside.segmentation import graph_cut as seg

SQUARE = (20, 12, 44, 40)


def square(h=64, w=64, seed=0):
    """A bright square on dark noise, and the mask of the square."""
    rng = np.random.default_rng(seed)
    photo = rng.normal(80, 20, (h, w, 3))
    mask = np.zeros((h, w), dtype=bool)
    mask[SQUARE[1] : SQUARE[3], SQUARE[0] : SQUARE[2]] = True
    photo[mask] = rng.normal((200, 170, 60), 20, (mask.sum(), 3))
    return photo.clip(0, 255).astype(np.uint8), mask


def partial_saliency(mask, seed=0):
    """Strong on the upper left part of the object only, as gradients are; weak noise elsewhere."""
    rng = np.random.default_rng(seed)
    saliency = rng.random(mask.shape) * 0.1
    saliency[14:28, 22:36] += rng.random((14, 14)) + 1
    return saliency


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def mixtures(seed=0):
    photo, mask = square(seed=seed)
    return photo, seg.colour_models(photo, partial_saliency(mask, seed), seed=seed)


def test_the_square_is_found_from_a_part_of_it():
    photo, mask = square()
    result = seg.segment(photo, partial_saliency(mask))
    assert result.found
    assert overlap(result.mask, mask) > 0.9
    assert np.abs(np.subtract(result.box, SQUARE)).max() <= 1


def test_models_see_only_the_pixels_beyond_the_quantiles():
    photo, mask = square()
    saliency = partial_saliency(mask)
    low, high = np.quantile(saliency, [0.3, 0.95])
    between = (saliency > low) & (saliency < high)
    changed = photo.copy()
    changed[between] = 255 - changed[between]
    before, after = seg.colour_models(photo, saliency), seg.colour_models(changed, saliency)
    for one, other in ((before.foreground, after.foreground), (before.background, after.background)):
        assert np.array_equal(one.means, other.means)
        assert np.array_equal(one.covariances, other.covariances)
    foreground = photo[saliency >= high].mean(0)
    assert np.allclose(before.foreground.weights @ before.foreground.means, foreground, atol=1e-6)
    assert not np.allclose(foreground, photo[between].mean(0), atol=10)


def test_fit_follows_scikit_learn_step_by_step():
    photo, _ = square()
    colours = photo.reshape(-1, 3)[::3].astype(float)
    start = seg.fit_mixture(colours, components=3, steps=1)
    ours = seg.fit_mixture(colours, components=3, steps=8, tolerance=-np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seven steps are not meant to converge
        oracle = GaussianMixture(
            3,
            reg_covar=1.0,
            max_iter=7,
            tol=0,
            weights_init=start.weights,
            means_init=start.means,
            precisions_init=np.linalg.inv(start.covariances),
        ).fit(colours)
    assert np.allclose(ours.weights, oracle.weights_, atol=1e-6)
    assert np.allclose(ours.means, oracle.means_, atol=1e-4)
    assert np.allclose(ours.covariances, oracle.covariances_, rtol=1e-5, atol=1e-3)
    assert np.allclose(ours.log_density(colours), oracle.score_samples(colours), atol=1e-5)


def test_fit_is_as_good_as_scikit_learns():
    photo, _ = square()
    colours = photo.reshape(-1, 3).astype(float)
    oracle = GaussianMixture(5, reg_covar=1.0, random_state=0, tol=1e-2).fit(colours)
    assert seg.fit_mixture(colours).log_density(colours).mean() > oracle.score(colours) - 0.05


def plain_energies(photo, models, masks, smoothness):
    """The energy of each of `masks` (M, 3, 3), pair by pair, as the formula reads."""
    colours = photo.reshape(9, 3).astype(float)
    own = [-m.log_density(colours) for m in (models.background, models.foreground)]
    total = np.where(masks.reshape(-1, 9), own[1], own[0]).sum(1)
    cells = list(itertools.product(range(3), repeat=2))
    near = [(a, b) for a, b in itertools.combinations(cells, 2) if max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1]
    contrast = {(a, b): ((photo[a].astype(float) - photo[b]) ** 2).sum() for a, b in near}
    beta = 1 / (2 * np.mean(list(contrast.values())))
    for a, b in near:
        weight = smoothness / np.hypot(a[0] - b[0], a[1] - b[1]) * np.exp(-beta * contrast[a, b])
        total += weight * (masks[:, *a] != masks[:, *b])
    return total


def test_cut_has_the_least_energy_of_all_masks():
    _, models = mixtures()
    rng = np.random.default_rng(3)
    masks = np.array(list(itertools.product((False, True), repeat=9))).reshape(-1, 3, 3)
    sizes = set()
    for smoothness in (0.0, 1.0, 3.0, 10.0) * 5:
        photo = rng.integers(60, 210, (3, 3, 3)).astype(np.uint8)
        energies = plain_energies(photo, models, masks, smoothness)
        mask = seg.graph_cut(photo, models, smoothness=smoothness)
        assert np.array_equal(mask, masks[energies.argmin()])
        sizes.add(int(mask.sum()))
        assert seg.energy(photo, models, mask, smoothness=smoothness) == pytest.approx(energies.min())
    assert len(sizes - {0, 9}) >= 2  # not only all or nothing


def test_energy_by_hand():
    gaussian = seg.Mixture(np.ones(1), np.full((1, 3), 100.0), np.eye(3)[None])
    darker = seg.Mixture(np.ones(1), np.full((1, 3), 98.0), np.eye(3)[None])
    photo = np.array([[[100, 100, 100], [100, 100, 98]]], dtype=np.uint8)
    normal = 1.5 * np.log(2 * np.pi)
    both = seg.energy(photo, seg.ColourModels(gaussian, darker), np.array([[True, True]]), smoothness=8.0)
    split = seg.energy(photo, seg.ColourModels(gaussian, darker), np.array([[True, False]]), smoothness=8.0)
    assert both == pytest.approx(2 * normal + 4 / 2)
    assert split == pytest.approx(2 * normal + 8 / 2 + 8 * np.exp(-0.5))


def blobs(seed):
    """Bright blobs of all sizes on dark noise: some are worth their border and some are not."""
    rng = np.random.default_rng(seed)
    photo, (y, x) = square(seed=seed)[0], np.mgrid[:64, :64]
    for row, column, radius in zip(
        rng.integers(64, size=20), rng.integers(64, size=20), rng.random(20) * 7, strict=True
    ):
        disc = (y - row) ** 2 + (x - column) ** 2 < radius**2
        photo[disc] = rng.normal((190, 160, 70), 20, (disc.sum(), 3)).clip(0, 255)
    return photo


def test_same_cut_as_opencv_at_its_own_smoothness():
    _, models = mixtures()
    fixed = [
        np.concatenate([m.weights, m.means.ravel(), m.covariances.ravel()])[None]
        for m in (models.background, models.foreground)
    ]
    changed = 0.0
    for photo in map(blobs, range(3)):
        oracle = np.full(photo.shape[:2], cv2.GC_PR_FGD, dtype=np.uint8)
        cv2.grabCut(photo, oracle, None, *fixed, 1, cv2.GC_EVAL_FREEZE_MODEL)
        ours = seg.graph_cut(photo, models, smoothness=50.0)
        changed += (ours != seg.graph_cut(photo, models, smoothness=0.0)).mean()
        assert 0.02 < ours.mean() < 0.7
        assert ((oracle == cv2.GC_PR_FGD) != ours).mean() < 0.001
    assert changed > 0.01


def test_more_smoothness_gives_a_shorter_border():
    photo, models = mixtures()
    rough = (photo + np.random.default_rng(0).normal(0, 45, photo.shape)).clip(0, 255).astype(np.uint8)
    borders = [
        np.abs(np.diff(seg.graph_cut(rough, models, smoothness=s).astype(int))).sum() for s in (0.0, 5.0, 50.0, 500.0)
    ]
    assert borders == sorted(borders, reverse=True)
    assert borders[0] > borders[-1]


def test_terms_of_any_size_are_cut_right():
    """Far colours have log densities in the tens of thousands: beyond whole-number capacities if taken as they are."""
    narrow = [seg.Mixture(np.ones(1), np.full((1, 3), v), np.eye(3)[None]) for v in (250.0, 5.0)]
    photo, mask = np.full((64, 64, 3), 5, dtype=np.uint8), np.zeros((64, 64), dtype=bool)
    mask[10:30, 20:50] = True
    photo[mask] = 250
    assert np.array_equal(seg.graph_cut(photo, seg.ColourModels(*narrow), smoothness=1000.0), mask)


def test_same_seed_same_answer():
    photo, mask = square()
    one, two = (seg.colour_models(photo, partial_saliency(mask), seed=0) for _ in range(2))
    assert np.array_equal(one.foreground.covariances, two.foreground.covariances)
    other = seg.colour_models(photo, partial_saliency(mask), seed=1)
    assert not np.array_equal(one.background.means, other.background.means)


def test_one_smoothness_means_the_same_at_every_size():
    """A border grows with the side and an area with its square, so `segment` scales the weight of the border."""
    photo, mask = square()
    saliency = partial_saliency(mask)
    masks = [
        seg.segment(
            np.kron(photo, np.ones((n, n, 1), np.uint8)),
            np.kron(saliency, np.ones((n, n))),
            constraints=seg.AS_PUBLISHED,
        )
        for n in (1, 2)
    ]
    assert np.array_equal(np.kron(masks[0].mask, np.ones((2, 2), bool)), masks[1].mask)
    cut = seg.graph_cut(photo, seg.colour_models(photo, saliency), smoothness=150 * 64 / 256)
    assert np.array_equal(masks[0].mask, seg.largest_component(cut))


def scattered(mask, seed=0):
    """Marks a few pixels of the object only, a tenth of them: no colour is enough for a border of a usual weight."""
    rng = np.random.default_rng(seed)
    return rng.random(mask.shape) * 0.05 + mask * (rng.random(mask.shape) > 0.7) * (1 + rng.random(mask.shape))


def camouflaged(seed=0):
    """An object whose colours are nearly those of its surroundings: the authors' weight cuts it to nothing."""
    _, mask = square()
    rng = np.random.default_rng(seed)
    photo = rng.normal(110, 20, (64, 64, 3)) + 12 * mask[..., None]
    return photo.clip(0, 255).astype(np.uint8), mask


def test_a_cut_that_collapses_is_held_to_what_the_map_marks():
    photo, mask = camouflaged()
    saliency = scattered(mask)
    assert seg.segment(photo, saliency, constraints=seg.AS_PUBLISHED).found is False
    result = seg.segment(photo, saliency)
    assert result.found
    assert overlap(result.mask, mask) > 0.6
    marked = seg.most_and_least(saliency)[0]
    assert saliency[result.mask & marked].sum() >= 0.7 * saliency[marked].sum()


def test_a_mask_that_holds_too_little_of_the_map_is_not_found_and_one_that_holds_half_of_it_is():
    photo, mask = square()
    both = partial_saliency(mask)
    both[50:62, 2:14] = both.max() * 0.6  # marked too, and of the background's colour
    result = seg.segment(photo, both)
    marked = seg.most_and_least(both)[0]
    held = both[result.mask & marked].sum() / both[marked].sum()
    assert result.found == bool(held >= 0.35) and result.found
    strict = seg.segment(photo, both, constraints=seg.Constraints(least_mass=1.0))
    assert strict.halvings <= seg.HALVINGS
    far = np.random.default_rng(0).random(mask.shape)
    assert not seg.segment(np.random.default_rng(1).integers(0, 255, photo.shape).astype(np.uint8), far).found


def test_seeds_are_on_their_side_whatever_their_colour():
    photo, mask = square()
    saliency = partial_saliency(mask)
    saliency[15, 25] = saliency.max() + 1
    photo[15, 25] = photo[~mask].mean(0)  # the most salient pixel has the background's colour
    front, back = seg.seeds(saliency, seg.Constraints())
    result = seg.segment(photo, saliency)
    assert front[15, 25] and result.mask[15, 25]
    assert (front.mean(), back.mean()) == (pytest.approx(0.005, abs=5e-4),) * 2
    assert not (result.mask & back).any()
    assert not (front & back).any()


def test_of_equal_values_none_is_the_least_and_a_constant_map_ties_nothing():
    dot = np.zeros((64, 64))
    dot[15:20, 24:30] = 1
    front, back = seg.seeds(dot, seg.Constraints())
    assert np.array_equal(front, dot > 0) and not back.any()
    assert not any(side.any() for side in seg.seeds(np.ones((8, 8)), seg.Constraints()))
    assert not any(side.any() for side in seg.seeds(dot, seg.AS_PUBLISHED))


def test_the_piece_with_most_of_the_map_is_taken_not_the_largest():
    mask = np.zeros((6, 6), dtype=bool)
    mask[0, :5] = mask[3:5, 3:5] = True
    saliency = np.ones((6, 6))
    saliency[3:5, 3:5] = 3
    assert np.array_equal(seg.salient_component(mask, saliency), mask & (saliency > 1))
    assert np.array_equal(seg.largest_component(mask), mask & (saliency == 1))


@pytest.mark.parametrize("side", [1, 4])
def test_a_mask_of_a_pixel_or_of_nothing_like_a_share_is_not_found(side):
    """The colour of a few marked pixels is nowhere else, so the cut is right, and yet no object."""
    photo = np.full((64, 64, 3), 60, dtype=np.uint8)
    photo[::2] = 62
    saliency = np.zeros((64, 64))
    photo[20 : 20 + side, 30 : 30 + side], saliency[20 : 20 + side, 30 : 30 + side] = 250, 1
    result = seg.segment(photo, saliency)
    assert (result.found, result.box) == (False, (0.0, 0.0, 64.0, 64.0))
    assert result.mask.all()
    large = np.zeros((64, 64))
    large[20:26, 30:36] = 1
    assert seg.segment(np.where(large[..., None] > 0, 250, photo).astype(np.uint8), large).box == (30, 20, 36, 26)


def test_nothing_to_find_is_the_whole_image():
    photo, mask = square()
    flat = np.full_like(photo, 128)
    whole = (0.0, 0.0, 64.0, 64.0)
    for picture, saliency in ((photo, np.ones((64, 64))), (photo, np.zeros((64, 64))), (flat, partial_saliency(mask))):
        result = seg.segment(picture, saliency)
        assert (result.found, result.box) == (False, whole)
        assert result.mask.all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3)])
def test_tiny_photos(shape):
    rng = np.random.default_rng(0)
    result = seg.segment(rng.integers(0, 256, (*shape, 3)).astype(np.uint8), rng.random(shape))
    assert result.mask.shape == shape
    assert result.mask.any()


def test_mostly_zero_saliency_still_gives_models():
    photo, mask = square()
    rng = np.random.default_rng(0)
    assert overlap(seg.segment(photo, rng.random(mask.shape) * mask).mask, mask) > 0.9
    dot = np.zeros((64, 64))
    dot[15:20, 24:30] = 1  # under 5 % of the pixels: both quantiles are 0
    models = seg.colour_models(photo, dot)
    assert models.foreground.weights @ models.foreground.means == pytest.approx(photo[dot > 0].mean(0))
    assert models.background.weights @ models.background.means == pytest.approx(photo[dot == 0].mean(0))


def test_few_colours_get_few_components():
    two = np.array([[10, 20, 30]] * 4 + [[200, 100, 50]] * 12, dtype=np.uint8)
    mixture = seg.fit_mixture(two, components=5)
    assert sorted(mixture.weights) == pytest.approx([0.25, 0.75])
    assert seg.fit_mixture(two[:1]).means == pytest.approx(np.array([[10.0, 20.0, 30.0]]))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"saliency": np.ones((3, 4))}, "height and width"),
        ({"saliency": np.full((64, 64), np.nan)}, "finite"),
        ({"saliency": -np.eye(64)}, "not negative"),
        ({"photo": np.zeros((64, 64), np.uint8)}, "uint8"),
        ({"foreground_quantile": 0.2}, "quantiles"),
        ({"components": 0}, "component"),
        ({"smoothness": -1.0}, "smoothness"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change, word):
    photo, mask = square()
    given = {"photo": photo, "saliency": partial_saliency(mask)} | change
    with pytest.raises(DeepInsideError, match=word):
        seg.segment(given.pop("photo"), given.pop("saliency"), **given)


def test_largest_component_counts_diagonal_neighbours():
    mask = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=bool)
    expected = np.eye(5, dtype=bool)
    expected[3:] = False
    assert np.array_equal(seg.largest_component(mask), expected)
    assert not seg.largest_component(np.zeros((2, 2), dtype=bool)).any()


def test_boxes_by_hand():
    mask = np.zeros((6, 8), dtype=bool)
    mask[2, 3] = mask[4, 6] = True
    assert seg.bounding_box(mask) == (3, 2, 7, 5)
    assert seg.bounding_box(np.zeros((6, 8), dtype=bool)) == (0, 0, 8, 6)
    assert seg.whole_image((6, 8)) == (0, 0, 8, 6)
    assert seg.centred_box((6, 8), size=(0.5, 1.0)) == (2, 0, 6, 6)


def test_threshold_boxes():
    saliency = np.zeros((10, 10))
    saliency[4, 2:5], saliency[7, 7] = 10, 3
    assert seg.threshold_box(saliency, level=0.5, of="maximum") == (2, 4, 5, 5)
    assert seg.threshold_box(saliency, level=0.3, of="maximum") == (2, 4, 8, 8)
    assert seg.threshold_box(saliency, level=0.975) == (2, 4, 5, 5)
    assert seg.threshold_box(np.ones((4, 5)), level=0.9) == (0, 0, 5, 4)
    with pytest.raises(DeepInsideError, match="level"):
        seg.threshold_box(saliency, level=1.5)


def test_random_boxes_stay_inside_and_keep_their_size():
    generator = np.random.default_rng(0)
    boxes = np.array([seg.random_box((40, 100), size=(0.3, 0.5), generator=generator) for _ in range(200)])
    assert np.allclose(boxes[:, 2:] - boxes[:, :2], (30, 20))
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 100
    assert np.abs(boxes[:, 0].mean() - 35) < 4
    with pytest.raises(DeepInsideError, match="shares"):
        seg.random_box((40, 100), size=(0.3, 1.5), generator=generator)
