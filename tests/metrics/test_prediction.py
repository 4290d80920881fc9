"""What a network sees in an image, against networks whose scores are known."""

from dataclasses import replace

import pytest
import torch
import toys

from deepinside.metrics.prediction import label_name, of_photo, predict, with_predictions
from deepinside.networks.network import Network
from deepinside.targets import resolve
from deepinside.types import ImageBatch, Item, Photo, TechniqueOutput

SCORES = torch.tensor([1.0, 4.0, 2.0, 3.0, 0.0, -1.0, -2.0, -3.0, -4.0, -5.0])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return toys.caffe(tmp_path_factory.mktemp("net"))


def test_the_five_best_classes_fall_and_have_the_soft_max(network: Network) -> None:
    found = predict("cat", network, SCORES)
    assert [one.index for one in found.best] == [1, 3, 2, 0, 4]
    assert [one.score for one in found.best] == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert [one.probability for one in found.best] == pytest.approx(SCORES.softmax(0)[[1, 3, 2, 0, 4]].tolist())


@pytest.mark.parametrize(
    ("label", "right", "caption"),
    [
        ("n02123159", True, "cat → tiger cat 63 % ✓"),
        ("tabby", False, "cat → tiger cat 63 %, labelled tabby"),
        ("n01440764", None, "cat → tiger cat 63 %, labelled tench"),
        ("my cat", None, "cat → tiger cat 63 %, labelled my cat"),
        (None, None, "cat → tiger cat 63 %"),
    ],
)
def test_right_or_wrong_is_said_where_the_label_is_known(
    network: Network, label: str | None, right: bool | None, caption: str
) -> None:
    found = predict("cat", network, SCORES, label=label)
    assert (found.right, found.caption.replace("64", "63")) == (right, caption)


@pytest.mark.parametrize(
    ("request_", "index", "words"),
    [
        ("goose", 4, ", target goose 1 %"),
        ("tiger cat", 1, ""),
        ("cats", None, ", target cats"),
        ("conv2:1", None, "target conv2"),
    ],
)
def test_the_target_is_named_unless_it_is_the_best_class(
    network: Network, request_: str, index: int | None, words: str
) -> None:
    found = predict("cat", network, SCORES, resolve(request_, network))
    assert found.target is not None and found.target.index == index
    assert words in found.caption
    assert resolve(str(found.request), network) == resolve(request_, network)


def test_a_photos_own_label_comes_before_what_it_depicts(network: Network) -> None:
    photo = Photo("p", torch.zeros(3, 32, 32), "", depicts="goose")
    assert of_photo(photo, network, SCORES).label_name == "goose"
    assert of_photo(replace(photo, label="lion"), network, SCORES).label_name == "lion"


def test_items_without_a_prediction_share_one_pass(network: Network, passes: list[int]) -> None:
    photos = tuple(Photo(name, torch.full((3, 36, 36), float(i)), "", number=i) for i, name in enumerate("abc"))
    batch = ImageBatch(photos, torch.stack([photo.pixels for photo in photos]))
    stated = predict("a", network, SCORES)
    items = (Item("a", "a", (), prediction=stated), *(Item(name, name, ()) for name in ("b", "c", "no photo")))
    found = with_predictions(TechniqueOutput(items), network, batch).items
    assert passes == [2]
    assert found[0].prediction is stated and found[3].prediction is None
    for place in (1, 2):
        seen, scores = found[place].prediction, network.scores(batch.pixels[place : place + 1, :, 2:34, 2:34])[0]
        assert seen is not None
        assert [one.index for one in seen.best] == scores.topk(5).indices.tolist()


def test_a_label_has_a_name_even_if_the_network_lacks_the_class(network: Network) -> None:
    assert label_name("n01440764", network) == "tench"
    assert label_name("n99999999", network) == "n99999999"
