"""Targets: everything a user may write, and what it is told when it is wrong."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
import toys

from deepinside.config.composition import compose_dict
from deepinside.config.settings import build
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


# ---- words that could be several things ------------------------------------------------------------------------------


def named(network: Network, *names: str) -> Network:
    return replace(network, labels=tuple(Label(i, "", name) for i, name in enumerate(names)), groups={})


@pytest.fixture
def folders(network: Network) -> Network:
    """Trained on folders called 1 to 10, whose scores stand in the order of the words."""
    return named(network, *sorted(map(str, range(1, 11))))


@pytest.mark.parametrize("request_", [2, "2", "02", 2.0, "2.0"])
def test_a_class_called_by_a_number_is_found_however_it_is_written(folders: Network, request_: str | int) -> None:
    found = resolve(request_, folders)
    assert found == Target("2", "fc8", (2,))  # 1, 10, 2
    assert not found.note  # its name and its place agree
    assert resolve("3", folders).channels == (3,) and resolve("10", folders).channels == (1,)


def test_what_else_a_number_could_have_been_is_said_with_how_to_say_it(folders: Network) -> None:
    turned = named(folders, *map(str, reversed(range(10))))
    found = resolve(2, turned)
    assert found.channels == (7,)
    assert found.note == (
        "The target '2' was taken as class number 7, called '2', not as class number 2, called '7', which is fc8:2."
    )
    assert resolve("fc8:2", turned).channels == (2,)


def test_a_place_is_taken_where_no_class_is_called_so_and_that_is_said(folders: Network) -> None:
    found = resolve(0, folders)
    assert found.channels == (0,)
    assert found.note == "No class is called '0'; the target was taken as class number 0, called '1'."
    assert not resolve(3, named(folders, *"abcdefghij")).note


def test_the_labels_of_photos_are_names_never_places_where_names_are_numbers(folders: Network) -> None:
    labels = ("2", "10", "05")
    batch = toys.photos(folders, 3, labels=labels)
    order = [label.name for label in folders.labels]
    found = for_batch(True, folders, batch, torch.zeros(3, 10))
    assert [row[0].channels for row in found] == [(order.index(str(int(label))),) for label in labels]
    with pytest.raises(DeepInsideError, match="expected photos' labels to be classes of tiny, found '0'"):
        for_batch("true", folders, toys.photos(folders, 1, labels=("0",)), torch.zeros(1, 10))


@pytest.mark.parametrize("word", [True, "true", "True", "TRUE ", "TRUE | top1"])
def test_true_is_the_photos_own_label_however_it_is_written(network: Network, word: str | bool) -> None:
    batch = toys.photos(network, 2, labels=("goose", "lemon"))
    assert check(word, network) is None
    assert [row[0].channels for row in for_batch(word, network, batch, torch.zeros(2, 10))] == [(4,), (7,)]


@pytest.mark.parametrize("word", [False, 1.0, 1e3])
def test_what_yaml_makes_of_a_word_is_never_the_number_of_a_class(network: Network, word: str | int) -> None:
    with pytest.raises(DeepInsideError, match=f"found '{str(word).lower()}'"):
        check(word, network)


def test_names_that_yaml_reads_otherwise_are_found(network: Network) -> None:
    odd = named(network, "false", "1e3", "true", *"abcdefg")
    assert resolve(False, odd).channels == (0,)
    assert resolve(1000.0, odd).channels == (1,)
    batch = toys.photos(odd, 1, labels=("a",))
    ((found,),) = for_batch(True, odd, batch, torch.zeros(1, 10))
    assert found.channels == (3,)
    assert "taken as each photo's own label, not as class number 2, called 'true', which is fc8:2" in found.note


@pytest.mark.parametrize(
    "request_", ["tench", "Tinca tinca", "tinca_tinca", "TENCH, Tinca tinca", "tench,Tinca  tinca", "fox | tench"]
)
def test_a_class_is_found_by_any_of_its_names(network: Network, request_: str) -> None:
    several = named(network, "goldfish, Carassius auratus", "tench, Tinca tinca", *"abcdefgh")
    assert resolve(request_, several).channels == (1,)


def test_a_whole_name_wins_over_one_of_several_and_says_so(network: Network) -> None:
    suits = named(network, "maillot", "maillot, tank suit", "crane, bird", "crane, machine", *"abcdef")
    found = resolve("maillot", suits)
    assert found.channels == (0,)
    assert "not as class number 1, called 'maillot, tank suit', which is fc8:1" in found.note
    with pytest.raises(DeepInsideError, match="'crane' is the name of 2 classes of tiny; say fc8:2 or fc8:3"):
        resolve("crane", suits)
    with pytest.raises(DeepInsideError, match="nearest are tank suit"):
        resolve("tank suits", suits)


def test_a_group_and_a_class_of_one_name(network: Network) -> None:
    both = replace(network, labels=(*network.labels[:9], Label(9, "", "cats")))
    found = resolve("cats", both)
    assert found.channels == (0, 1)
    assert found.note.startswith("The target 'cats' was taken as the group cats, not as class number 9")


@pytest.mark.parametrize("word", ["true", "True", "TRUE", '"true"', "true | top1"])
def test_a_bool_of_the_command_line_is_a_word_in_every_technique(word: str, network: Network) -> None:
    for name in ("saliency", "layer_gradients", "localisation", "faithfulness", "randomisation", "occlusion"):
        config = compose_dict([f"technique={name}", f"technique.target={word}"])
        assert check(build(config["technique"], "technique").target, network) is None


def test_one_word_does_for_a_list() -> None:
    for word, expected in (("goldfish", ("goldfish",)), ("4", (4,)), ("[goldfish,4]", ("goldfish", 4))):
        config = compose_dict(["technique=class_model", f"technique.targets={word}"])
        assert build(config["technique"], "technique").targets == expected
