"""Scores of boxes and maps against counting pixels, hand-computed cases, and what chance gives."""

import numpy as np
import pytest
import torch

from deepinside.errors import DeepInsideError
from deepinside.segmentation import boxes as m


def random_boxes(count, side, seed):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, side - 1, (count, 2))
    return np.concatenate([corner, rng.integers(corner + 1, side + 1)], axis=1)


def painted(box, side):
    canvas = np.zeros((side, side), dtype=bool)
    canvas[box[1] : box[3], box[0] : box[2]] = True
    return canvas


def test_iou_counts_pixels():
    first, second = random_boxes(20, 12, 0), random_boxes(15, 12, 1)
    counted = [
        [(painted(a, 12) & painted(b, 12)).sum() / (painted(a, 12) | painted(b, 12)).sum() for b in second]
        for a in first
    ]
    assert m.iou(first, second) == pytest.approx(np.array(counted))
    assert 0 < (m.iou(first, second) > 0).mean() < 1


def test_iou_by_hand():
    assert m.iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(np.array([[1 / 7]]))
    assert m.best_iou((0, 0, 1, 1), [(0, 0, 1, 0.5), (0, 0, 1, 0.8)]) == pytest.approx(0.8)
    assert m.best_iou((0, 0, 1, 1), torch.tensor([[1.0, 1, 2, 2]])) == 0
    assert m.best_iou((0, 0, 1, 1), []) == 0
    assert m.pixel_boxes((0.5, 0, 1, 0.25), (8, 4)).tolist() == [[2, 0, 4, 2]]
    assert m.object_size([(0, 0, 10, 5), (0, 0, 2, 2)], (10, 20)) == 0.25
    with pytest.raises(DeepInsideError, match="without boxes"):
        m.object_size([])


def answer(label, *box):
    return m.Answer(label, box)


WRONG = [answer(name, 0, 0, 10, 10) for name in "bcde"]


@pytest.mark.parametrize(
    ("answers", "top", "right"),
    [
        ([answer("a", 0, 0, 10, 10)], 1, True),
        ([answer("a", 0, 0, 10, 5)], 1, True),  # exactly a half
        ([answer("a", 0, 0, 10, 4.9)], 1, False),
        ([*WRONG, answer("a", 0, 0, 10, 10)], 5, True),
        ([*WRONG, answer("a", 0, 0, 10, 10)], 1, False),
        ([*WRONG, answer("f", 0, 0, 10, 10), answer("a", 0, 0, 10, 10)], 5, False),  # the sixth
        ([answer("a", 50, 50, 60, 60), *WRONG], 5, False),  # right class, right box, not together
        ([answer("a", 20, 0, 30, 10)], 1, True),  # the other box of the class
        ([answer("z", 40, 0, 50, 10)], 1, True),  # the other class in the photo
        ([answer("z", 0, 0, 10, 10)], 1, False),
        ([], 5, False),
    ],
)
def test_a_photo_is_right_as_ilsvrc_counts(answers, top, right):
    truth = [answer("a", 0, 0, 10, 10), answer("a", 20, 0, 30, 10), answer("z", 40, 0, 50, 10)]
    assert m.localised(answers, truth, top=top) is right


def test_at_least_one_answer_is_looked_at():
    with pytest.raises(DeepInsideError, match="top: expected at least 1, found 0"):
        m.localised([], [], top=0)


def test_box_scores_put_the_baselines_beside():
    scores = m.box_scores({"graph_cut": (0, 0, 10, 8), "whole_image": (0, 0, 20, 20)}, [(0, 0, 10, 10)])
    assert scores == {
        "graph_cut/iou": 0.8,
        "whole_image/iou": 0.25,
        "graph_cut/right": 1.0,
        "whole_image/right": 0.0,
        "graph_cut/box_accuracy": 1.0,
        "whole_image/box_accuracy": 0.0,
    }
    assert m.box_scores({"a": (0, 0, 10, 6)}, (0, 0, 10, 10))["a/box_accuracy"] == pytest.approx(2 / 3)


def test_whole_image_is_right_exactly_from_half_the_area_on():
    for box in random_boxes(60, 10, 2):
        right = m.box_scores({"whole": (0, 0, 10, 10)}, box)["whole/right"]
        assert right == (m.object_size(box, (10, 10)) >= 0.5)


def test_inside_is_the_painted_box_and_grows_by_the_tolerance():
    for box in random_boxes(20, 12, 3):
        assert np.array_equal(m.inside((12, 12), box), painted(box, 12))
    corner = m.inside((9, 9), (0, 0, 3, 3), tolerance=2.0)
    assert corner[4, 0]  # centre 1.5 below the edge
    assert not corner[5, 0]
    assert corner[3, 4]  # 0.5 down and 1.5 across
    assert not corner[4, 4]  # 1.5 and 1.5 are 2.1 apart
    both = m.inside((12, 12), [(0, 0, 2, 2), (5, 5, 7, 7)])
    assert both.sum() == 8


def test_pointing_game():
    saliency = np.zeros((10, 20))
    saliency[3, 15] = 5
    assert m.pointing(saliency, (10, 0, 20, 5)) == 1
    assert m.pointing(saliency, (0, 0, 15, 10)) == 0
    assert m.pointing(saliency, (0, 0, 15, 10), tolerance=0.5) == 1
    assert m.pointing(saliency, [(0, 0, 2, 2), (15, 3, 16, 4)]) == 1
    saliency[0, 0] = 5
    assert m.pointing(saliency, (10, 0, 20, 5)) == 0.5
    assert m.pointing(np.ones((10, 20)), (0, 0, 5, 10)) == 0.25


def test_mass_inside_against_the_share_of_area():
    saliency = np.ones((10, 10))
    saliency[:, :5] = 3
    scores = m.map_scores(saliency, (0, 0, 5, 10))
    assert scores["mass_inside"] == pytest.approx(0.75)
    assert scores["area_inside"] == 0.5
    assert scores["concentration"] == pytest.approx(1.5)
    for says_nothing in (np.full((10, 10), 7.0), np.zeros((10, 10))):
        assert m.map_scores(says_nothing, [(0, 0, 3, 3), (2, 2, 4, 9)])["concentration"] == pytest.approx(1)
    assert m.map_scores(torch.tensor(saliency), (0, 0, 5, 10)) == scores


def test_the_centre_is_the_pointing_games_baseline():
    saliency = np.random.default_rng(0).random((10, 10))
    assert m.map_scores(saliency, (4, 4, 6, 6))["pointing_centre"] == 1
    assert m.map_scores(saliency, (6, 6, 9, 9))["pointing_centre"] == 0
    assert m.map_scores(saliency, (6, 5, 9, 9), tolerance=1.0)["pointing_centre"] == 1
    assert "concentration" not in m.map_scores(saliency, (0.6, 0.6, 0.9, 0.9))


def test_sizes():
    assert [m.size_bin(s) for s in (0.0, 0.2499, 0.25, 0.5, 0.5001, 1.0)] == [
        *m.SIZES[:1] * 2,
        *m.SIZES[1:2] * 2,
        *m.SIZES[2:] * 2,
    ]
    assert sorted(m.SIZES) == list(m.SIZES)


@pytest.mark.parametrize("bad", [[1, 2, 3], [[0, 0, 0, 5]], [[5, 0, 1, 5]], [[0, 0, np.nan, 1]]])
def test_bad_boxes_are_refused(bad):
    with pytest.raises(DeepInsideError, match="Boxes must"):
        m.iou(bad, (0, 0, 1, 1))


@pytest.mark.parametrize("bad", [-np.ones((2, 2)), np.full((2, 2), np.inf), np.ones(4), np.zeros((0, 3))])
def test_bad_maps_are_refused(bad):
    with pytest.raises(DeepInsideError, match="saliency map"):
        m.map_scores(bad, (0, 0, 1, 1))


# ---- MaxBoxAccV2 -----------------------------------------------------------------------------------------------------


def two_peaks() -> np.ndarray:
    """A peak of height 1 in an area of 0.5, which is the object, and another of 0.8 far from it."""
    saliency = np.zeros((20, 20))
    saliency[2:12, 2:12] = 0.5
    saliency[5:7, 5:7] = 1
    saliency[15:18, 15:18] = 0.8
    return saliency


def test_every_piece_above_the_threshold_has_its_box():
    assert m.component_boxes(two_peaks(), 0.4).tolist() == [[2, 2, 12, 12], [15, 15, 18, 18]]
    assert m.component_boxes(two_peaks(), 0.9).tolist() == [[5, 5, 7, 7]]
    assert m.component_boxes(np.ones((4, 6)), 0.5).tolist() == [[0, 0, 6, 4]]
    diagonal = np.eye(4)
    assert m.component_boxes(diagonal, 0.5).tolist() == [[0, 0, 4, 4]]  # 8 neighbours


def test_max_box_accuracy_of_a_map_whose_boxes_are_known():
    truth = (2, 2, 12, 12)
    assert m.level_overlaps(two_peaks(), truth, (0.4, 0.9)).tolist() == [1.0, 0.04]
    assert m.map_box_accuracy(two_peaks(), truth, (0.4, 0.4, 0.4)) == 1
    assert m.map_box_accuracy(two_peaks(), truth, (0.4, 0.4, 0.9)) == pytest.approx(2 / 3)
    assert m.map_box_accuracy(two_peaks(), (2, 2, 12, 8), (0.4, 0.4, 0.4)) == pytest.approx(2 / 3)  # IoU 0.6
    assert m.map_box_accuracy(3 * two_peaks(), truth, (0.4, 0.9, 0.9)) == pytest.approx(1 / 3)  # the scale is no matter
    assert m.map_box_accuracy(two_peaks(), [(0, 0, 1, 1), truth], (0.4, 0.4, 0.4)) == 1


def test_the_best_level_of_each_iou_is_where_most_photos_reach_it():
    overlaps = np.array([[0.35, 0.1, 0.9], [0.4, 0.6, 0.2], [0.45, 0.6, 0.2]])
    assert m.best_levels(overlaps, (0.1, 0.2, 0.3)) == (0.1, 0.2, 0.3)
    assert m.best_levels(np.ones((2, 3)), (0.1, 0.2, 0.3)) == (0.1, 0.1, 0.1)


def test_the_gaussian_at_the_centre_is_symmetric_and_gives_centred_boxes():
    gaussian = m.centre_gaussian((20, 40))
    assert np.allclose(gaussian, gaussian[::-1, ::-1])
    assert gaussian[9, 19] == gaussian.max()
    ((x0, y0, x1, y1),) = m.component_boxes(gaussian, 0.3)
    assert (x0 + x1, y0 + y1) == (40, 20)
    assert (x1 - x0) / 40 == pytest.approx((y1 - y0) / 20, abs=0.06)


def test_the_energy_pointing_game_of_a_constant_map_is_the_share_of_area():
    for box in random_boxes(20, 12, 5):
        scores = m.map_scores(np.full((12, 12), 3.0), box)
        assert scores["mass_inside"] == pytest.approx(m.area(box)[0] / 144)
        assert scores["mass_inside"] == pytest.approx(scores["area_inside"])
    left = m.map_scores(np.ones((12, 12)), (0, 0, 6, 12))
    assert left["mass_centre"] == pytest.approx(0.5)


def test_edges_are_where_the_luminance_changes() -> None:
    photo = np.zeros((8, 10, 3), dtype=np.uint8)
    photo[:, 5:] = 255
    found = m.edges(photo)
    assert found.shape == (8, 10)
    assert (found[:, 4:6] > 0.5).all() and not found[:, :4].any() and not found[:, 6:].any()
    assert m.edges(np.full((8, 10, 3), 200)).max() == pytest.approx(0)
