"""Targets: everything a user may write, and what it is told when it is wrong."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
import toys

from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.networks.spec import Label, find_spec, read_labels
from deepinside.targets import Target, check, check_even, for_batch, resolve


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return toys.caffe(tmp_path_factory.mktemp("caffe"))


@pytest.mark.parametrize("request_", [4, "4", "goose", "GOOSE", "n01855672", "ostrich | goose", "9999|n01855672"])
def test_one_class_by_many_names(network: Network, request_: str | int) -> None:
    assert resolve(request_, network) == Target("goose", "fc8", (4,))


def test_class_zero_and_seed_zero_are_not_nothing(network: Network) -> None:
    assert resolve(0, network).channels == (0,)


def test_a_group_is_its_classes(network: Network) -> None:
    assert resolve("cats", network) == Target("cats", "fc8", (0, 1))


@pytest.mark.parametrize(
    ("request_", "channels", "place"),
    [("conv2:5", (5,), None), ("conv2:5:max", (5,), "max"), ("conv2_1:5:1:2", (5,), (1, 2)), ("fc6:3", (3,), None)],
)
def test_units_of_layers(network: Network, request_: str, channels: tuple[int, ...], place: object) -> None:
    found = resolve(request_, network)
    assert (found.channels, found.place) == (channels, place)
    assert found.layer == network.resolve(request_.split(":")[0])


def test_alternatives_pass_over_layers_the_network_has_not(network: Network) -> None:
    assert resolve("conv9:3 | cats", network).name == "cats"
    assert resolve("cats | conv9:3", network).name == "cats"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("gose", "nearest are goose"),
        ("Gold fish", "nearest are goldfish"),
        ("ostrich | lions", "nearest are lion"),
        ("10", "10 classes"),
        ("-1", "found '-1'"),
        ("", "found ''"),
        ("²", "found '²'"),
        ("top0", "found 'top0'"),
        ("conv9:3", "no layer 'conv9'; known, nearest first: conv"),
        ("conv2:8", "outside layer conv2"),
        ("conv2:5:99:0", "outside layer conv2"),
        ("fc6:1:0:0", "outside layer fc6"),
        ("conv2:x", "layer:channel"),
        ("conv2:5:1", "layer:channel"),
    ],
)
def test_what_is_unknown_is_refused_with_what_is_near(network: Network, request_: str, said: str) -> None:
    with pytest.raises(DeepInsideError, match=said):
        resolve(request_, network)


def test_an_empty_name_is_no_class_without_a_wordnet_id(network: Network) -> None:
    bare = replace(network, labels=tuple(Label(i, "", f"class {i}") for i in range(10)))
    with pytest.raises(DeepInsideError, match="found ''"):
        resolve("", bare)
    assert resolve("goose | 3", bare).name == "class 3"


def test_a_network_without_labels_has_numbers(network: Network) -> None:
    bare = replace(network, labels=(), groups={})
    assert resolve("3", bare) == Target("class 3", "fc8", (3,))
    with pytest.raises(DeepInsideError, match="10 classes without names"):
        resolve("goose", bare)


def test_targets_that_depend_on_the_photo(network: Network) -> None:
    batch = toys.photos(network, 2, labels=("goose", "n02129165"))
    scores = torch.zeros(2, 10)
    scores[0, 7], scores[0, 2], scores[1, 1] = 3, 2, 1
    assert [row[0].name for row in for_batch("top1", network, batch, scores)] == ["lemon", "tiger cat"]
    assert [t.name for t in for_batch("top2", network, batch, scores)[0]] == ["lemon", "golden retriever"]
    assert [len(row) for row in for_batch("top99", network, batch, scores)] == [10, 10]
    assert [row[0].name for row in for_batch("true", network, batch, scores)] == ["goose", "lion"]
    assert [row[0].name for row in for_batch("dogs", network, batch, scores)] == ["dogs", "dogs"]


def test_a_missing_label_says_what_to_set(network: Network) -> None:
    batch = toys.photos(network, 2, labels=("goose", None))
    with pytest.raises(DeepInsideError, match=r"label for photo1, found none; set images\.labels"):
        for_batch("true", network, batch, torch.zeros(2, 10))
    assert [row[0].name for row in for_batch("true | 3", network, batch, torch.zeros(2, 10))] == ["goose", "malamute"]


def test_a_name_of_two_classes_is_refused_with_both_ids(network: Network) -> None:
    cranes = (Label(0, "n02012849", "crane"), Label(1, "n03126707", "Crane"), *network.labels[2:])
    two = replace(network, labels=cranes)
    for request in ("crane", "CRANE", "no such | crane"):
        with pytest.raises(DeepInsideError, match=r"2 classes of .*; say n02012849 or n03126707"):
            resolve(request, two)
    assert [resolve(request, two).channels for request in ("n03126707", "0", "n02012849 | crane")] == [(1,), (0,), (0,)]


def test_the_networks_that_ship_with_two_classes_of_one_name_know_them_by_id() -> None:
    names = Counter(label.name.casefold() for label in read_labels(find_spec("caffenet")))
    assert {name for name, count in names.items() if count > 1} == {"crane", "maillot", "cardigan"}


@pytest.mark.parametrize("request_", ["true | top5", "true|top2"])
def test_more_maps_for_photos_without_a_label_are_refused(request_: str) -> None:
    with pytest.raises(
        DeepInsideError, match=r"one for a photo with a label and \d for one without; use 'true \| top1'"
    ):
        check_even(request_)


@pytest.mark.parametrize("request_", ["true | top1", "true", "top5", "true | goose", 3])
def test_as_many_maps_for_every_photo_are_even(request_: str | int) -> None:
    check_even(request_)


def test_checking_gives_the_target_where_no_photo_decides_it(network: Network) -> None:
    assert check("true | 3", network) == check(3, network) == Target("malamute", "fc8", (3,))
    assert [check(request, network) for request in ("true", "top5", "true | top1")] == [None] * 3


def test_reading_an_activation() -> None:
    values = torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2)
    assert Target("", "l", (1,)).read(values).tolist() == [5.5, 17.5]
    assert Target("", "l", (1,), "max").read(values).tolist() == [7, 19]
    assert Target("", "l", (1,), (0, 1)).read(values).tolist() == [5, 17]
    assert Target("", "l", (0, 2), (0, 0)).read(values).tolist() == [4, 16]
    assert Target("", "l", (0, 1)).read(torch.tensor([[1.0, 3, 9]])).tolist() == [2]
