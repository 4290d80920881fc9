"""Localisation: a network that counts brightness finds a bright square, and its numbers are those of the boxes."""

from dataclasses import replace
from typing import Any

import graphs
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from toys import alone, ready

import deepinside as di
from deepinside import claims
from deepinside.claims.simonyan import padded, smallest_lead
from deepinside.config.paths import ROOT
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.networks.spec import InputConvention
from deepinside.results.items import ItemRow, ItemTable
from deepinside.segmentation.boxes import SIZES
from deepinside.techniques.localisation import Localisation
from deepinside.types import ImageBatch, Item, Photo, Seeds

SIDE = 48
SQUARE = (10, 14, 26, 32)
SHARE = 16 * 18 / SIDE**2
TRUTH = torch.tensor([SQUARE]) / SIDE
MEAN = torch.tensor([123.0, 117.0, 104.0])[:, None, None]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Classes 0 to 5 like what is brighter than 40 levels above the mean, each less than the one before."""
    weights = {
        "conv1_w_0": np.full((1, 3, 1, 1), 1 / 3, dtype=np.float32),
        "conv1_b_0": np.array([-40], dtype=np.float32),
        "fc8_w_0": np.repeat(np.float32([1, 0.9, 0.8, 0.7, 0.6, 0.5])[:, None], SIDE * SIDE, axis=1),
        "fc8_b_0": np.zeros(6, dtype=np.float32),
    }
    nodes = [
        graphs.node("Conv", "data_0 conv1_w_0 conv1_b_0", "conv1_1", kernel_shape=[1, 1]),
        graphs.node("Relu", "conv1_1", "conv1_2"),
        graphs.node("Flatten", "conv1_2", "flat_1", axis=1),
        graphs.node("Gemm", "flat_1 fc8_w_0 fc8_b_0", "fc8_1", transB=1),
    ]
    model = graphs.model(nodes, weights, output="fc8_1", shape=("N", 3, SIDE, SIDE), opset=13)
    convention = InputConvention(size=(SIDE, SIDE), mean=(123, 117, 104))
    return ready(model, tmp_path_factory.mktemp("bright"), "fc8", convention, output="scores")


def photos(count: int = 3, *, label: str | None = None, boxes: Tensor | None = None, larger: int = 0) -> ImageBatch:
    """A bright, slightly coloured square on dark noise; each photo's noise is another."""
    generator = torch.Generator().manual_seed(3)
    x0, y0, x1, y1 = (edge + larger // 2 for edge in SQUARE)
    levels = 70 + 12 * torch.randn(count, 3, SIDE + larger, SIDE + larger, generator=generator)
    levels[:, :, y0:y1, x0:x1] += torch.tensor([140.0, 120.0, 90.0])[:, None, None]
    x = levels.clamp(0, 255).round() - MEAN
    return ImageBatch(tuple(Photo(f"photo{i}", p, "", label, boxes, number=i) for i, p in enumerate(x)), x)


def items(network: Network, batch: ImageBatch, **settings: Any) -> tuple[Item, ...]:
    return Localisation(**settings)(network, batch, Seeds(0)).items


def panel(item: Item, name: str) -> Any:
    return next(found for found in item.panels if found.name == name)


def test_the_bright_square_is_found(network: Network) -> None:
    for item in items(network, photos()):
        mask = panel(item, "mask").values
        expected = torch.zeros(SIDE, SIDE)
        expected[SQUARE[1] : SQUARE[3], SQUARE[0] : SQUARE[2]] = 1
        assert torch.equal(mask, expected)
        assert panel(item, "box").boxes.tolist() == [list(SQUARE)]
        assert item.metrics == {"mask_share": pytest.approx(SHARE), "found": 1}
        assert item.group is None


def test_photos_are_looked_at_once_for_all_their_classes(network: Network, passes: list[int]) -> None:
    found = items(network, photos(), target="top5")
    assert len(found) == 15 and passes == [3]
    passes.clear()
    items(network, photos(larger=8), target="top5", crops="ten")
    assert sum(passes) == 30


def test_a_photos_own_class_beside_those_asked_for_has_its_own_map(network: Network) -> None:
    """Only some of the photos of a batch have one."""
    labels = ("tabby", "espresso", "tabby")
    batch = photos(3)
    marked = (replace(photo, label=label, boxes=TRUTH) for photo, label in zip(batch.photos, labels, strict=True))
    whole = ImageBatch(tuple(marked), batch.pixels)
    found = items(network, whole, target="top1")
    assert [item.name.split("_")[0] for item in found].count("photo1") == 2
    single = [item for i in range(3) for item in items(network, alone(whole, i), target="top1")]
    assert [item.name for item in single] == [item.name for item in found]
    for one, other in zip(single, found, strict=True):
        assert torch.equal(panel(one, "saliency").values, panel(other, "saliency").values)


def test_the_square_is_found_through_ten_crops_of_a_larger_photo(network: Network) -> None:
    (item, *_) = items(network, photos(larger=8), crops="ten")
    assert panel(item, "box").boxes.tolist() == [[edge + 4 for edge in SQUARE]]
    assert panel(item, "saliency").values.shape == (SIDE + 8, SIDE + 8)


def test_marked_photos_are_scored_beside_boxes_without_a_network(network: Network) -> None:
    (item, *_) = items(network, photos(label="tabby", boxes=TRUTH))
    found = item.metrics
    assert item.group == SIZES[0]
    assert found["object_share"] == found["whole_image/iou"] == found["area_inside"] == pytest.approx(SHARE)
    assert found["graph_cut/iou"] == found["graph_cut/right"] == found["pointing"] == 1
    assert [found[f"graph_cut/top{top}_error"] for top in (1, 5)] == [0, 0]
    assert [found[f"{name}/right"] for name in ("whole_image", "centre", "random")] == [0, 0, 0]
    assert [found[f"{name}/top5_error"] for name in ("whole_image", "centre", "random")] == [1, 1, 1]
    assert found["mass_inside"] == pytest.approx(1)
    assert found["mass_inside"] > found["mass_edges"] > found["area_inside"]
    assert panel(item, "saliency").boxes.tolist() == [pytest.approx(SQUARE)]


@pytest.mark.parametrize(("label", "errors"), [("tabby", (0, 0)), ("malamute", (1, 0)), ("espresso", (1, 1))])
def test_the_class_counts_as_well_as_the_box(network: Network, label: str, errors: tuple[int, int]) -> None:
    """tabby is every photo's first class, malamute its fourth, espresso its sixth."""
    for item in items(network, photos(label=label, boxes=TRUTH), target="true | top1"):
        assert item.metrics["graph_cut/right"] == 1
        assert (item.metrics["graph_cut/top1_error"], item.metrics["graph_cut/top5_error"]) == errors


def test_a_box_elsewhere_is_wrong_whatever_the_class(network: Network) -> None:
    (item, *_) = items(network, photos(label="tabby", boxes=torch.tensor([[0.8, 0.8, 1.0, 1.0]])))
    assert item.metrics["graph_cut/right"] == item.metrics["pointing"] == item.metrics["mass_inside"] == 0
    assert item.metrics["graph_cut/top1_error"] == item.metrics["graph_cut/top5_error"] == 1


def test_a_photos_own_class_is_looked_at_beside_what_was_asked_for(network: Network) -> None:
    found = items(network, photos(1, label="espresso", boxes=TRUTH))
    assert [item.name for item in found] == ["photo0_1_tabby", "photo0_2_espresso"]
    assert [item.group for item in found] == [None, SIZES[0]]
    assert "graph_cut/iou" not in found[0].metrics
    assert [item.name for item in items(network, photos(1, label="espresso"))] == ["photo0"]
    assert [panel(i, "saliency").caption for i in items(network, photos(1, label="espresso"))] == ["tabby"]


def test_the_label_where_there_is_one_and_the_best_class_elsewhere(network: Network) -> None:
    batch = photos(2)
    mixed = replace(batch, photos=(replace(batch.photos[0], label="goose"), batch.photos[1]))
    found = items(network, mixed, target="true | top1")
    assert [panel(item, "saliency").caption for item in found] == ["goose", "tabby"]
    Localisation(target="true | top1").check(network)
    with pytest.raises(DeepInsideError, match="found 'topp'"):
        Localisation(target="true | topp").check(network)


def test_five_classes_give_five_items_and_the_marked_one_the_numbers(network: Network) -> None:
    found = items(network, photos(1, label="malamute", boxes=TRUTH), target="top5")
    assert [panel(item, "saliency").caption for item in found] == [
        "tabby", "tiger cat", "golden retriever", "malamute", "goose",
    ]  # fmt: skip
    assert [item.group is not None for item in found] == [False, False, False, True, False]


def test_boxes_move_with_the_crop(network: Network) -> None:
    batch = photos(1, label="tabby", boxes=torch.tensor([[0.25, 0.0, 0.75, 1.0]]))
    seen = replace(batch.photos[0], view=(0.25, 0.0, 0.75, 1.0))
    (item,) = items(network, replace(batch, photos=(seen,)))
    assert item.metrics["object_share"] == item.metrics["whole_image/iou"] == 1
    assert item.group == SIZES[2]
    outside = replace(seen, view=(0.75, 0.0, 1.0, 1.0))
    (item,) = items(network, replace(batch, photos=(outside,)))
    assert item.group is None and "object_share" not in item.metrics


def test_regions_are_the_pixels_of_the_two_colour_models(network: Network) -> None:
    noise = torch.Generator().manual_seed(5)
    saliency = torch.rand(40, 50, generator=noise)
    picture = Localisation(foreground=0.9, background=0.2).regions(saliency)
    blue, cyan = torch.tensor([0.0, 0, 255]), torch.tensor([0.0, 255, 255])
    salient, rest = ((picture == colour[:, None, None]).all(0) for colour in (blue, cyan))
    assert (salient.sum(), rest.sum()) == (200, 400)
    assert saliency[salient].min() > saliency[~salient].max()
    assert saliency[rest].max() < saliency[~rest].min()


def test_a_batch_is_its_photos_one_by_one(network: Network) -> None:
    batch = photos(label="malamute", boxes=TRUTH)
    batch = replace(batch, photos=tuple(replace(photo, number=photo.number + 5) for photo in batch.photos))
    settings = {"target": "top1", "usual_size": (0.3, 0.3)}
    together = items(network, batch, **settings)
    single = [item for index in range(3) for item in items(network, alone(batch, index), **settings)]
    assert [item.name for item in together] == [item.name for item in single]
    assert len({item.metrics["random/iou"] for item in together if item.group}) == 3
    for one, other in zip(together, single, strict=True):
        assert one.metrics == pytest.approx(other.metrics)
        for left, right in zip(one.panels, other.panels, strict=True):
            assert torch.allclose(left.values, right.values)


def test_nothing_is_left_on_the_network(network: Network) -> None:
    x = photos().pixels
    before, state = network.scores(x), set(vars(network.module))
    items(network, photos(label="tabby", boxes=TRUTH), relu_rule="guided")
    with pytest.raises(DeepInsideError, match="no such thing"):
        items(network, photos(label="no such thing", boxes=TRUTH))
    assert torch.equal(network.scores(x), before)
    assert set(vars(network.module)) == state
    assert all(parameter.grad is None for parameter in network.module.parameters())
    assert not any(part._forward_hooks or part._backward_hooks for part in network.module.modules())


def test_a_photo_of_one_colour_has_no_object(network: Network) -> None:
    x = torch.full((1, 3, SIDE, SIDE), 200.0) - MEAN
    (item,) = items(network, ImageBatch((Photo("plain", x[0], ""),), x))
    assert item.metrics == {"mask_share": 1, "found": 0}
    assert panel(item, "mask").caption.startswith("no object found")
    assert panel(item, "box").boxes.tolist() == [[0, 0, SIDE, SIDE]]


def test_no_photos_no_items(network: Network) -> None:
    empty = ImageBatch((), torch.zeros(0, 3, SIDE, SIDE))
    assert items(network, empty) == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"background": 0.95}, "background must be below"),
        ({"foreground": 1.5}, "less than or equal to 1"),
        ({"smoothness": -1}, "greater than or equal to 0"),
        ({"components": 0}, "greater than 0"),
        ({"foreground_seeds": 0.1, "background_seeds": 0.2}, "background_seeds must be below"),
        ({"least_mass": 1.5}, "less than or equal to 1"),
        ({"usual_size": (0.0, 0.5)}, "greater than 0"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Localisation(**wrong)


def test_what_leaves_the_paper_is_said(network: Network) -> None:
    said = Localisation(foreground=0.9, relu_rule="guided")(network, photos(1), Seeds(0)).deviations
    assert len(said) == 7
    published = {"foreground_seeds": None, "background_seeds": None, "least_mass": 0, "piece": "largest"}
    assert not Localisation(crops="ten", **published).deviations(replace(photos(1), pixels=torch.zeros(1, 3, 256, 300)))


# ---- the claims ------------------------------------------------------------------------------------------------------


def evidence(network: Network, found: tuple[Item, ...]) -> claims.Evidence:
    table = ItemTable()
    table.add(ItemRow(item.name, item.title, item.metrics, item.group) for item in found)
    return claims.Evidence(network, photos(1), Seeds(0), {}, table.columns(), table.texts["group"])


BOXES = (
    "localises_better_than_baselines", "localises_small_objects", "points_at_the_object",
    "points_more_than_a_centre_prior", "points_more_than_edges",
)  # fmt: skip


def test_small_squares_are_found_better_than_by_naive_boxes(network: Network) -> None:
    seen = evidence(network, items(network, photos(6, label="tabby", boxes=TRUTH)))
    for name in BOXES[:2]:
        claim = claims.evaluate(f"saliency_{name}", seen)
        assert (claim.estimate, claim.n, claim.verdict) == (1, 6, "holds")
    for name in BOXES[2:]:
        assert claims.evaluate(f"saliency_{name}", seen).verdict == "holds"


def test_objects_of_which_the_whole_photo_is_right_by_definition_are_no_part_of_the_claim(network: Network) -> None:
    small = items(network, photos(1, label="tabby", boxes=TRUTH))
    whole = items(network, photos(2, label="tabby", boxes=torch.tensor([[0.0, 0.0, 1.0, 1.0]])))
    claim = claims.evaluate("saliency_localises_better_than_baselines", evidence(network, (small[0], whole[1])))
    assert (claim.estimate, claim.n, claim.verdict) == (1, 1, "inconclusive")
    with pytest.raises(claims.NotMeasuredError, match="at least half of its photo"):
        claims.evaluate("saliency_localises_better_than_baselines", evidence(network, (whole[1],)))


def test_the_lead_is_that_at_the_worse_size() -> None:
    """Of small objects all are found and no baseline finds one; of larger ones half, and all by the centre."""
    small = np.tile([1.0, 0, 0, 0], (8, 1))
    larger = np.array([[0.0, 0, 1, 0], [1, 1, 1, 1]] * 4)
    table = np.concatenate(padded([small, larger]))
    assert smallest_lead(table) == -0.5
    assert smallest_lead(table[:8]) == 1  # no larger object in this resample
    assert smallest_lead(np.stack([table, table])).tolist() == [-0.5, -0.5]


def test_unmarked_photos_leave_the_claims_unmeasured(network: Network) -> None:
    seen = evidence(network, items(network, photos()))
    for name in BOXES:
        with pytest.raises(claims.NotMeasuredError, match="no box annotations"):
            claims.evaluate(f"saliency_{name}", seen)


# ---- real weights, where they are at hand ----------------------------------------------------------------------------

SHARED = ROOT.parent / "shared"


@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="no networks with real weights here")
def test_an_animal_that_the_cut_alone_loses_is_cut_out_on_a_real_network() -> None:
    """The dalmatian's head alone without the constraints, head and body with them."""
    network = di.load(SHARED / "models" / "squeezenet1.0.onnx")
    photo = SHARED / "data" / "photos" / "n02110341_dalmatian.jpg"
    found = di.localisation(network, photo)
    assert found.metrics["found"] == 1
    assert 0.2 < found.metrics["mask_share"] < 0.7
    published = di.localisation(
        network, photo, foreground_seeds=None, background_seeds=None, least_mass=0.0, piece="largest"
    )
    assert published.metrics["mask_share"] < found.metrics["mask_share"]


@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="no networks with real weights here")
def test_a_deconvnets_map_of_zeros_is_told_on_a_real_network() -> None:
    network = di.load(SHARED / "models" / "squeezenet1.0.onnx")
    photo = SHARED / "data" / "photos" / "n01443537_goldfish.jpg"
    found = di.saliency(network, photo, relu_rule="deconvnet")
    assert not found.map.any()
    assert any(note.startswith("1 maps, of 1 of 1 items, tell nothing") for note in found.notes)
