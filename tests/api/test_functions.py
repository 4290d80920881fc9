"""The library: the runner's own numbers, photos of every kind, results that show themselves, errors of one sentence."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import skimage
import torch
from corridor import call
from PIL import Image

import deepinside as di
from deepinside.api import functions as api
from deepinside.config.settings import find_class

CAT, COFFEE = (Path(skimage.__file__).parent / "data" / name for name in ("chelsea.png", "coffee.png"))
SMALL: dict[str, dict[str, Any]] = {
    "class_model": {"targets": ["goldfish", "school bus"], "l2": 1e-6, "jitter": 0.05, "optimiser": {"steps": 3}},
    "saliency": {"target": "Egyptian cat", "show": "signed"},
    "layer_gradients": {"layers": ["conv3", "fc8"]},
    "inversion": {"layers": ["conv2", "conv5"], "optimiser": {"schedule": [[3, 0.004]]}},
    "localisation": {"target": "top1", "smoothness": 60},
    "randomisation": {"stages": 2, "rules": ["gradient", "guided"]},
    "faithfulness": {"steps": 4},
    "occlusion": {"stride": 0.25},
    "fooling": {"target": "random", "steps": 3},
}
OFTEN = ("class_model", "saliency", "faithfulness")
"""Those compared on every occasion: an optimisation, a map, random numbers by photo."""


@pytest.fixture(scope="module")
def net() -> di.Network:
    return di.load("tinycaffenet")


def overrides(settings: dict[str, Any], prefix: str = "technique") -> list[str]:
    """The words of the command line that say the same."""
    words: list[str] = []
    for key, value in settings.items():
        inner = overrides(value, f"{prefix}.{key}") if isinstance(value, dict) else [f"{prefix}.{key}={value}"]
        words += inner
    return [word.replace("'", "") for word in words]


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]
)
def test_the_same_numbers_as_the_runner_byte_for_byte(
    name: str, net: di.Network, bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("two").mkdir()
    for path in (CAT, COFFEE):
        (bench / "two" / path.name).symlink_to(path)
    photos = ["images=none"] if name == "class_model" else ["images.root=two", "images.names=[]"]
    assert call(monkeypatch, f"technique={name}", *photos, *overrides(SMALL[name]), "seed=3") == 0
    (run,) = [path.parent for path in Path("results").rglob("arrays.npz")]

    given = () if name == "class_model" else ("two",)
    found = getattr(di, name)(net, *given, seed=3, **SMALL[name])
    saved = found.save("mine")
    with np.load(run / "arrays.npz") as theirs, np.load(saved / "arrays.npz") as mine:
        assert set(theirs) == set(mine)
        assert all(theirs[key].tobytes() == mine[key].tobytes() for key in theirs)
    pictures = {str(path.relative_to(run)) for path in run.rglob("panels/**/*.png")}
    assert pictures
    assert all((run / path).read_bytes() == (saved / path).read_bytes() for path in pictures)
    assert json.loads((saved / "metrics.json").read_text())["metrics"] == found.metrics
    assert json.loads((run / "metrics.json").read_text())["metrics"] == found.metrics


def test_keyword_arguments_are_the_settings_of_the_techniques() -> None:
    """What a type checker accepts is what the settings class knows, so the two cannot drift apart."""
    for name in SMALL:
        keywords = set(get_type_hints(getattr(api, f"{name.title().replace('_', '')}Settings")))
        kind = find_class(f"deepinside.techniques.{name}.{name.title().replace('_', '')}", name)
        signature = set(inspect.signature(getattr(api, name)).parameters) & {"target", "targets"}
        own = keywords - {"levels"} - ({"targets"} if "target" in signature else set())
        assert own | signature == {field.name for field in fields(kind)}


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(str, id="text"),
        pytest.param(Image.open, id="Pillow image"),
        pytest.param(lambda path: np.array(Image.open(path)), id="array"),
        pytest.param(lambda path: torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1), id="tensor"),
    ],
)
def test_a_photo_is_the_same_however_it_comes(same: Callable[[Path], Any], net: di.Network) -> None:
    wanted = di.saliency(net, CAT, target="Egyptian cat")
    found = di.saliency(net, same(CAT), target="Egyptian cat")
    assert torch.equal(found.map, wanted.map)
    assert torch.equal(found.photo, wanted.photo)


def test_several_photos_at_once_are_each_as_alone_and_have_names_of_their_own(net: di.Network) -> None:
    array = np.array(Image.open(COFFEE))
    found = di.saliency(net, [CAT, array, array])
    assert [one.name for one in found] == ["chelsea", "photo", "photo-2"]
    assert torch.equal(found["chelsea"].map, di.saliency(net, CAT).map)
    assert torch.equal(found[1].map, found["photo-2"].map)
    assert torch.equal(found[1:][0].map, found[1].map)
    assert found.metrics["score"] == pytest.approx(np.mean([one.metrics["score"] for one in found]))


def test_more_photos_than_fit_a_batch_change_nothing(net: di.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faithfulness draws random numbers for each photo, by its place in the whole set."""
    three = di.photos(net, [CAT, COFFEE, CAT])
    whole = di.faithfulness(net, three, steps=2)
    monkeypatch.setattr(api, "BATCH_SIZE", 2)
    parted = di.faithfulness(net, three, steps=2)
    for one, other in zip(whole, parted, strict=True):
        assert one.metrics == other.metrics


def test_grey_and_transparent_photos_are_read_as_a_person_sees_them(net: di.Network) -> None:
    grey = np.full((70, 80), 90, np.uint8)
    clear = np.zeros((64, 64, 4), np.uint8)
    assert torch.equal(di.saliency(net, grey).photo, torch.full((3, 64, 64), 90.0))
    assert torch.equal(di.saliency(net, clear).photo, torch.full((3, 64, 64), 255.0))


def test_ten_crops_get_larger_photos_unless_they_are_prepared(net: di.Network) -> None:
    assert di.saliency(net, CAT, crops="ten").map.shape == (73, 73)
    prepared = di.photos(net, CAT, enlarge=1.5)
    assert di.saliency(net, prepared, crops="ten").map.shape == (96, 96)


def test_parts_of_the_settings_may_be_words_mappings_or_objects(net: di.Network) -> None:
    from deepinside.optimisation.optimisers import Adam

    by_word = defaults_of("inversion", optimiser="adam")
    assert by_word.optimiser == Adam(steps=200, rate=1.0)
    assert defaults_of("inversion", optimiser=Adam(steps=5)).optimiser == Adam(steps=5)
    assert defaults_of("class_model", optimiser={"steps": 7}).optimiser.steps == 7
    assert defaults_of("class_model", optimiser={"steps": 7}).optimiser.rate == 4.0


def defaults_of(name: str, **settings: Any) -> Any:
    from deepinside.api import defaults

    return defaults.technique(name, (64, 64), settings)


def test_what_was_found_has_its_tensors_where_one_looks(net: di.Network) -> None:
    model = di.class_model(net, "goldfish", optimiser={"steps": 2})
    assert model.image.shape == (3, 64, 64)
    assert {"objective", "score"} <= set(model.trace)
    assert all(len(values) == 2 for values in model.trace.values())
    place = di.localisation(net, CAT)
    x0, y0, x1, y1 = place.box.tolist()
    assert place.mask.shape == place.map.shape == (64, 64)
    assert place.mask[int(y0) : int(y1), int(x0) : int(x1)].sum() > 0
    assert place.mask.sum() >= place.mask[int(y0) : int(y1), int(x0) : int(x1)].sum()


def test_a_network_may_be_a_yaml_or_an_onnx_file(net: di.Network, tmp_path: Path) -> None:
    from deepinside.networks.spec import conf_models

    there = di.load(conf_models() / "tinycaffenet.yaml")
    drafted = di.load(conf_models() / "tinycaffenet.onnx")
    wanted = di.saliency(net, CAT, target=3).map
    assert torch.equal(di.saliency(there, CAT, target=3).map, wanted)
    assert torch.equal(di.saliency(drafted, CAT, target=3).map, wanted)  # the draft guesses Caffe's convention
    assert "a guess" in drafted.notes[0]
    assert di.load("tinycaffenet", precision="float64").dtype == torch.float64
    rough = di.saliency(di.load("tinycaffenet", precision="bf16"), CAT, target=3).map
    assert torch.corrcoef(torch.stack([rough.flatten(), wanted.flatten()]))[0, 1] > 0.9


REFUSED: dict[str, Callable[[di.Network], Any]] = {
    "saliency.targt: no such key": lambda net: di.saliency(net, CAT, targt="lion"),  # type: ignore[call-arg]
    "Did you mean target?": lambda net: di.saliency(net, CAT, targt="lion"),  # type: ignore[call-arg]
    "nearest are Egyptian cat": lambda net: di.saliency(net, CAT, target="Egiptian cat"),
    "class_model.l2: ": lambda net: di.class_model(net, "goldfish", l2=-1.0),
    "technique/optimiser: expected one of": lambda net: di.inversion(net, CAT, optimiser="adm"),  # type: ignore[arg-type]
    "inversion.optimiser.step: no such key": lambda net: di.inversion(net, CAT, optimiser={"step": 1}),
    "nowhere.jpg, which is not there": lambda net: di.saliency(net, "nowhere.jpg"),
    "cannot be read as an image": lambda net: di.saliency(net, __file__),
    "found float32": lambda net: di.saliency(net, torch.rand(3, 8, 8)),
    "of shape (8, 8, 2)": lambda net: di.saliency(net, np.zeros((8, 8, 2), np.uint8)),
    "found int": lambda net: di.saliency(net, 3),  # type: ignore[arg-type]
    "found none": lambda net: di.saliency(net, []),
    "a network from deepinside.load": lambda net: di.saliency("tinycaffenet", CAT),  # type: ignore[arg-type]
    "Did you mean tinycaffenet?": lambda net: di.load("tinycafenet"),
    "load.device: this machine has no such device": lambda net: di.load("tinycaffenet", device="abacus"),
    "photos.enlarg: no such key": lambda net: di.photos(net, CAT, enlarg=2),
    "seed: expected an integer": lambda net: di.saliency(net, CAT, seed=-1),
    "start=photo: expected a photo": lambda net: di.class_model(net, "lion", start="photo"),
    "choose by position or name: chelsea, chelsea-2": lambda net: di.saliency(net, [CAT, CAT]).map,
    "expected a image, found none": lambda net: di.saliency(net, CAT).image,
    "expected one map, found 3": lambda net: di.saliency(net, CAT, target="top3").map,
    "expected one of chelsea; found": lambda net: di.saliency(net, CAT)["cat"],
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_errors_are_one_sentence(sentence: str, net: di.Network) -> None:
    with pytest.raises(di.DeepInsideError) as error:
        REFUSED[sentence](net)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_with_one_broken_photo_is_refused_by_its_name(net: di.Network, tmp_path: Path) -> None:
    Image.open(CAT).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    with pytest.raises(di.DeepInsideError, match=r"^bad\.jpg cannot be read as an image: "):
        di.saliency(net, tmp_path)


def test_notebooks_show_names_as_text(net: di.Network, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    hostile = tmp_path / f"{name}.png"
    Image.open(CAT).save(hostile)
    page = di.saliency(net, hostile)._repr_html_()
    assert "alert(1)" in page
    assert "<img src=x" not in page
    assert page.count("<img ") == page.count("data:image/png;base64,") == 2
    assert di.saliency(net, hostile)[0]._repr_html_() in page
    assert di.saliency(net, CAT)._repr_png_().startswith(b"\x89PNG")
    assert di.saliency(net, CAT)[0]._repr_png_().startswith(b"\x89PNG")
    assert "chelsea" in repr(di.saliency(net, CAT))
    assert len(repr(net)) < 200


def test_the_program_s_own_choices_are_left_alone(net: di.Network) -> None:
    """Also after an error: no mode of torch's, no thread, no random state is changed."""
    mode, threads, state = torch.get_deterministic_debug_mode(), torch.get_num_threads(), torch.get_rng_state()
    di.faithfulness(net, CAT, steps=2)
    with pytest.raises(di.DeepInsideError):
        di.class_model(net, "lion", start="photo")
    assert (torch.get_deterministic_debug_mode(), torch.get_num_threads()) == (mode, threads)
    assert torch.equal(torch.get_rng_state(), state)


def test_importing_it_is_light_and_says_what_there_is() -> None:
    code = (
        "import sys, deepinside; assert not {'torch', 'hydra', 'numpy'} & set(sys.modules);"
        "assert {'load', 'saliency'} <= set(dir(deepinside)); print(deepinside.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout[0].isdigit()
    assert all(getattr(di, name) is getattr(api, name) for name in di.__all__)
    with pytest.raises(AttributeError, match="no attribute 'salience'"):
        di.salience  # noqa: B018
