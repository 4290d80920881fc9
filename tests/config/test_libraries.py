"""Networks by the names of torchvision and timm: what is declared there, and one sentence for what is not."""

import pytest

from deepinside.config import catalogue, libraries
from deepinside.config.composition import compose_dict
from deepinside.config.libraries import _say_once, imported, library_name, library_node
from deepinside.errors import DeepInsideError
from deepinside.networks.spec import find_spec, read_labels


def test_a_name_has_a_library_an_architecture_and_perhaps_weights() -> None:
    assert library_name("torchvision:resnet50") == ("torchvision", "resnet50", None)
    assert library_name("timm:resnet50.a1_in1k:random") == ("timm", "resnet50.a1_in1k", "random")
    assert [library_name(text) for text in ("resnet50", "keras:resnet50", "timm:", "C:/net.onnx", "a:b:c:d")] == [
        None
    ] * 5


def test_torchvisions_declaration_is_taken_over() -> None:
    """Numbers of its documentation: https://docs.pytorch.org/vision/stable/models.html"""
    node = library_node("torchvision:resnet50")
    assert node["file"] == "torchvision:resnet50:IMAGENET1K_V2"
    assert node["urls"] == ["https://download.pytorch.org/models/resnet50-11ad3fa6.pth"]
    assert node["input"] == {
        "size": [224, 224], "channels": "rgb", "scale": 255.0, "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225], "crop": 224 / 232, "interpolation": "bilinear",
    }  # fmt: skip
    older = library_node("torchvision:resnet50:IMAGENET1K_V1")
    assert older["input"]["crop"] == 224 / 256 and older["urls"] != node["urls"]
    assert library_node("torchvision:swin_t")["input"]["interpolation"] == "bicubic"


def test_timms_declaration_is_taken_over() -> None:
    node = library_node("timm:vit_base_patch16_224.augreg_in21k_ft_in1k")
    assert node["urls"] == [
        "https://huggingface.co/timm/vit_base_patch16_224.augreg_in21k_ft_in1k/resolve/main/model.safetensors"
    ]
    assert node["input"]["mean"] == node["input"]["std"] == [0.5, 0.5, 0.5]
    assert node["input"]["crop"] == 224 / int(224 / 0.9) and node["input"]["interpolation"] == "bicubic"
    assert node["labels"] == "imagenet_1000"
    assert library_node("timm:convnext_tiny.in12k")["labels"] is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("convnext_base.fb_in22k_ft_in1k_384", ["timm stretches photos to a square; images.resize=square does so"]),
        ("resnet50.a1_in1k", []),
    ],
)
def test_a_crop_of_timm_that_is_no_centre_crop_is_named_once(
    name: str, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    _say_once.cache_clear()
    for _ in range(2):
        library_node(f"timm:{name}")
    assert [record.getMessage() for record in caplog.records] == [
        f"timm:{name}: {words}. Crops here are centre crops." for words in said
    ]


def test_the_shipped_labels_are_those_of_both_libraries() -> None:
    """torchvision only tells the two cranes and the two maillots apart."""
    ours = read_labels(find_spec("torchvision:resnet18"))
    theirs = imported("torchvision").models.get_model_weights("resnet18").DEFAULT.meta["categories"]
    differing = [name for label, name in zip(ours, theirs, strict=True) if label.name != name]
    assert differing == ["crane bird", "maillot tank suit"]
    assert [label.wnid for label in ours] == imported("timm").data.ImageNetInfo("imagenet-1k").label_names()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchvision:resnet5", "one of its 80 classification architectures, found 'resnet5'. Did you mean resnet50"),
        ("torchvision:resnet50:V9", "expected weights IMAGENET1K_V1, IMAGENET1K_V2, random, found 'V9'"),
        ("torchvision:vgg16:IMAGENET1K_FEATURES", "expected weights IMAGENET1K_V1, random"),
        ("timm:resnet5", "classification architectures, found 'resnet5'"),
        ("timm:resnet50.a9_in1k", "expected a classifier's weights, such as resnet50.a1_in1k"),
        ("timm:vit_small_patch16_224.dino", "expected a classifier's weights"),
    ],
)
def test_an_unknown_name_is_refused_in_one_sentence(name: str, said: str) -> None:
    with pytest.raises(DeepInsideError, match=said):
        library_node(name)
    with pytest.raises(DeepInsideError, match=said):
        compose_dict([f"network={name}"])


def test_a_library_that_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(libraries, "import_module", absent)
    with pytest.raises(DeepInsideError, match=r"pip install 'deepinside\[timm\]'"):
        imported.__wrapped__("timm")


def test_the_same_words_are_for_the_command_line_and_for_experiments(bench: object) -> None:
    config = compose_dict(["network=torchvision:resnet18:random", "judge=timm:test_vit:random"])
    assert (config["network"]["weights"], config["network"]["input"]["crop"]) == ("random", 0.875)
    assert config["judge"]["input"]["size"] == [160, 160]
    path = bench / "experiments" / "mine.yaml"  # type: ignore[operator]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("defaults: [{override /network: 'torchvision:resnet18'}, _self_]\n", encoding="utf-8")
    assert compose_dict(["experiment=mine"])["network"]["file"] == "torchvision:resnet18:IMAGENET1K_V1"
    assert catalogue.is_known("judge", "torchvision:resnet18") and not catalogue.is_known("experiment", "timm:resnet18")
