"""The library's comfort: predictions, targets, batches, conversions, results from disk."""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from matplotlib.figure import Figure
from PIL import Image

import deepinside as di
from deepinside import figures

COFFEE, PHOTO = skimage.data.coffee(), skimage.data.chelsea()


@pytest.fixture(scope="module")
def net() -> di.Network:
    return di.load("tinycaffenet")


def test_a_network_is_called_and_predicts(net: di.Network) -> None:
    pixels = di.photos(net, [PHOTO, COFFEE]).pixels
    assert torch.equal(net(pixels), net.scores(pixels))  # type: ignore[operator]
    cat, coffee = net.predict([PHOTO, COFFEE])  # type: ignore[attr-defined]
    expected = net.scores(pixels)[1].softmax(0).topk(5)
    assert [one.index for one in coffee.best] == expected.indices.tolist()
    assert [one.probability for one in coffee.best] == pytest.approx(expected.values.tolist())
    assert (coffee.best[0].name, str(cat)) == ("espresso", f"photo → {cat.best[0]}")


def test_the_target_is_the_second_argument_or_one_per_photo(net: di.Network) -> None:
    both = di.saliency(net, [PHOTO, COFFEE], targets=["lion", "espresso"])
    alone = di.saliency(net, PHOTO, "lion")
    assert torch.equal(both[0].map, alone.map)
    assert torch.equal(both[1].map, di.saliency(net, COFFEE, "espresso").map)
    target = alone[0].target
    assert target is not None and net.labels[target.index or 0].name == target.name == "lion"
    assert target.probability == pytest.approx(alone[0].metrics["posterior"])
    assert "target lion" in repr(alone) and "espresso" in repr(both[1])


def test_a_batch_is_several_photos_and_floats_have_levels(net: di.Network) -> None:
    batch = np.stack([PHOTO[:300, :400], COFFEE[:300, :400]])
    wanted = di.photos(net, [batch[0], batch[1]]).pixels
    assert torch.equal(di.photos(net, batch).pixels, wanted)
    assert torch.equal(di.photos(net, torch.from_numpy(batch).permute(0, 3, 1, 2)).pixels, wanted)
    assert torch.equal(di.photos(net, batch / 255, levels=(0, 1)).pixels, wanted)
    assert torch.equal(di.photos(net, batch / 127.5 - 1, levels=(-1, 1)).pixels, wanted)
    assert torch.equal(di.saliency(net, batch / 255, levels=(0, 1))[1].map, di.saliency(net, batch[1]).map)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda net: di.photos(net, PHOTO / 1.0, levels=(0, 1)), "expected values from 0 to 1 (levels), found 0 to"),
        (lambda net: di.photos(net, np.full((8, 8, 3), np.nan), levels=(0, 1)), "found nan to nan"),
        (lambda net: di.photos(net, PHOTO / 255, levels=(1, 0)), "the values of black and white in this order"),
        (lambda net: di.photos(net, PHOTO / 255), "as in levels=(0, 1)"),
        (lambda net: di.saliency(net, PHOTO, targets=["tabby", "lemon"]), "one per photo, 1 in all, found 2"),
        (lambda net: di.saliency(net, PHOTO, "tabby", targets=["tabby"]), "targets, one per photo; found both"),
        (lambda net: di.saliency(net, PHOTO).plot(Figure().subplots(), "x"), "expected one of photo, saliency"),
        (lambda net: di.read("nowhere"), "nowhere: expected the folder of a complete result, found none."),
    ],
)
def test_mistakes_are_said_in_a_sentence(net: di.Network, call: Callable[[di.Network], object], said: str) -> None:
    with pytest.raises(di.DeepInsideError) as error:
        call(net)
    assert said in str(error.value)


def test_results_go_to_numpy_pandas_and_matplotlib(net: di.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    found = di.saliency(net, [PHOTO, COFFEE])
    arrays = found.to_numpy()
    assert {name: values.shape for name, values in arrays.items()} == {
        "photo": (2, 3, 64, 64), "saliency": (2, 64, 64)}  # fmt: skip
    assert np.array_equal(arrays["saliency"][1], found[1].map.numpy())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(di.DeepInsideError, match="install it with pip install pandas"):
        found.to_pandas()
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=dict))
    table = found.to_pandas()
    assert table["target_name"][1] == "espresso"
    assert table["score"].tolist() == [one.metrics["score"] for one in found]
    axis = found[1].plot(Figure().subplots())
    assert axis.get_title().startswith("photo-2 → espresso")
    assert np.array_equal(axis.images[0].get_array(), figures.picture(found[1].panels["saliency"]))


def test_a_picture_is_shown_outside_a_notebook(net: di.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, int]] = []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(image.size))
    monkeypatch.setitem(sys.modules, "IPython", None)
    di.saliency(net, PHOTO).show()
    assert len(shown) == 1


def test_a_result_is_read_from_its_folder(net: di.Network, tmp_path: Path) -> None:
    found = di.saliency(net, [PHOTO, COFFEE], "tabby")
    again = di.read(found.save(tmp_path / "out"))
    assert repr(again) == repr(found)
    assert (again.metrics, again.deviations, again.notes) == (found.metrics, found.deviations, found.notes)
    assert all(torch.equal(one.map, other.map) for one, other in zip(again, found, strict=True))
    assert [one.prediction for one in again] == [one.prediction for one in found]
