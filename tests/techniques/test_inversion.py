"""Inversion against what is known: the identity, the papers' formulas written out, finite differences."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
import torch
import toys
import yaml
from torch import Tensor

from deepinside.claims.mahendran import last_spatial_layer
from deepinside.claims.registry import Evidence, check_measurable, evaluate
from deepinside.config.catalogue import network_node
from deepinside.config.settings import build, construct
from deepinside.errors import DeepInsideError
from deepinside.metrics.aggregation import fidelity
from deepinside.networks.network import Network
from deepinside.networks.spec import InputConvention, Layer, NetworkSpec
from deepinside.optimisation import regularisers
from deepinside.optimisation.optimisers import LBFGS, AdaGrad, Adam, Momentum
from deepinside.optimisation.priors import Mahendran2014, Mahendran2016, at_depth
from deepinside.techniques.inversion import (
    Inversion,
    InversionTarget,
    RepresentationLoss,
    chosen_layers,
    representations,
    stride,
)
from deepinside.types import Item, Panel, Seeds

CONFIGS = Path(__file__).parents[2] / "configs" / "technique"
ENERGIES = [Mahendran2014(), Mahendran2016()]
FREE = Mahendran2014(alpha_weight=0, total_variation=0.0)
FREE_2016 = Mahendran2016(bound=400, largest=400, alpha=60, edge=0, jitter_steps=0)  # no penalty below 400
QUICK = Momentum(steps=12, rate=0.004)


@pytest.fixture(scope="module")
def caffe(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return toys.caffe(tmp_path_factory.mktemp("caffe")).to(dtype=torch.float64)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A network whose first layer is the photo itself, a copy by 1x1 convolution; 12x12."""
    nodes = [
        graphs.node("Conv", "data_0 w", "copy_1", kernel_shape=[1, 1]),
        graphs.node("Flatten", "copy_1", "flat_1", axis=1),
        graphs.node("Gemm", "flat_1 v", "score_1", transB=1),
    ]
    arrays = {"w": np.eye(3, dtype=np.float32)[:, :, None, None], "v": np.eye(3, 432, dtype=np.float32)}
    model = graphs.model(nodes, arrays, output="score_1", shape=("N", 3, 12, 12), opset=13)
    convention = InputConvention(size=(12, 12), mean=(123, 117, 104))
    return toys.ready(model, tmp_path_factory.mktemp("copy"), "score", convention, output="scores", name="copy")


def invert(network: Network, count: int = 1, **settings: Any) -> list[Item]:
    batch = toys.photos(network, count, level=60)
    batch = replace(batch, pixels=batch.pixels.to(network.mean))
    return list(Inversion(**settings)(network, batch, Seeds(0)).items)


def panel(item: Item, name: str) -> Tensor:
    return next(panel.values for panel in item.panels if panel.name == name)


def match_of(network: Network, layer: str, energy: Mahendran2014 | Mahendran2016) -> RepresentationLoss:
    photos = toys.photos(network, 1, level=60).pixels.to(network.mean)
    wanted = representations(network, photos, [InversionTarget(layer, 0, 0, 0, Seeds(0), energy)])
    return RepresentationLoss(network, tuple(wanted), tuple(photos.shape[1:]), tuple(wanted.values()))


@pytest.mark.parametrize(
    ("optimiser", "energy", "worst"),
    [
        (Momentum(steps=150, rate=0.03), FREE, 0.1),
        (Adam(steps=150, rate=6.0), FREE, 5),
        (LBFGS(steps=20), FREE, 0.01),
        (AdaGrad(schedule=((120, 53.3), (30, 5.33))), FREE_2016, 5),
    ],
)
def test_the_identity_gives_the_photo_back(identity: Network, optimiser: Any, energy: Any, worst: float) -> None:
    (item,) = invert(identity, layers="copy_1", optimiser=optimiser, energy=energy)
    difference = panel(item, "photo") - panel(item, "reconstruction_copy_1")
    assert difference.abs().max() < worst
    assert item.metrics["copy_1/error"] == pytest.approx(0, abs=5e-3)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"neighbourhood": 4}, (slice(0, 3), slice(4, 8), slice(4, 8))),
        ({"channels": "first_half"}, (slice(0, 1), slice(0, 12), slice(0, 12))),
        ({"channels": "second_half", "neighbourhood": 5}, (slice(1, 3), slice(3, 8), slice(3, 8))),
    ],
)
def test_a_restricted_inversion_of_the_identity_gives_these_units_back_and_leaves_the_rest_as_it_started(
    identity: Network, settings: Any, wanted: tuple[slice, ...]
) -> None:
    (item,) = invert(identity, layers="copy_1", optimiser=LBFGS(steps=20), energy=FREE, **settings)
    photo, found = panel(item, "photo"), panel(item, "reconstruction_copy_1")
    start = FREE.start((3, 12, 12), Seeds(0).generator(0, f"start/{identity.resolve('copy_1')}/0")) + identity.mean
    assert (photo - found)[wanted].abs().max() < 0.01
    inside = torch.zeros_like(photo, dtype=torch.bool)
    inside[wanted] = True
    assert torch.allclose(found[~inside], start[~inside], atol=1e-4)
    assert item.metrics["copy_1/error"] < 1e-6


def test_the_receptive_field_is_drawn_and_measured(identity: Network) -> None:
    (item,) = invert(identity, layers="copy_1", optimiser=LBFGS(steps=20), energy=FREE, neighbourhood=4)
    boxes = item.panels[1].boxes
    assert boxes is not None and boxes.tolist() == [[4, 4, 8, 8]] and item.panels[0].boxes is None
    assert item.metrics["copy_1/field"] == pytest.approx(4 / 12)
    assert item.metrics["copy_1/effective_field"] == pytest.approx(1, abs=0.1)  # noise, like the photo
    (half,) = invert(identity, layers="copy_1", optimiser=QUICK, channels="first_half")
    assert {"copy_1/colour_share", "copy_1/frequency"} < set(half.metrics)
    assert not {"copy_1/field", "copy_1/inside"} & set(half.metrics)


def test_what_a_restriction_does_not_do_is_said(caffe: Network, identity: Network) -> None:
    (item,) = invert(caffe, layers=("conv1", "fc8"), neighbourhood=5, channels="first_half", optimiser=QUICK)
    assert item.notes == ("a neighbourhood of 5 leaves out no position of fc8",)
    assert "conv1/field" in item.metrics and "fc8/field" not in item.metrics
    (item,) = invert(identity, layers="copy_1", channels="first_half", optimiser=QUICK)
    assert item.notes == ("copy has no convolution in two groups, so the halves of its channels are no streams",)


def test_a_layer_of_one_channel_has_no_half(tmp_path: Path) -> None:
    network = replace(toys.grey(tmp_path), layers={"conv1": Layer("conv1", "conv1_1", "Conv", (1, 14, 14))})
    with pytest.raises(DeepInsideError, match=r"technique\.channels: expected layers of at least two channels"):
        Inversion(layers="conv1", channels="first_half").check(network)


def test_pictures_can_be_stretched_without_changing_a_number(identity: Network) -> None:
    (plain,), (stretched,) = (invert(identity, layers="copy_1", optimiser=QUICK, stretched=on) for on in (False, True))
    assert [one.kind for one in plain.panels] == ["photo", "photo"]
    assert [one.kind for one in stretched.panels] == ["photo", "stretched"]
    assert torch.equal(plain.panels[1].values, stretched.panels[1].values)
    assert plain.metrics == stretched.metrics


@pytest.mark.parametrize("energy", [Mahendran2014, Mahendran2016])
def test_one_weight_for_all_layers_is_no_deviation(identity: Network, energy: Any) -> None:
    word = "weights by share of the depth"
    single = energy(total_variation=1.0) if energy is Mahendran2014 else energy(error_weight=1.0)
    assert any(word in sentence for sentence in Inversion(energy=energy()).deviations(identity))
    assert not any(word in sentence for sentence in Inversion(energy=single).deviations(identity))


def total_variation(x: np.ndarray) -> float:
    """Σ of squared differences to the right and below, by loops."""
    found = 0.0
    for channel in x:
        for i in range(channel.shape[0]):
            for j in range(channel.shape[1]):
                right = channel[i, j + 1] - channel[i, j] if j + 1 < channel.shape[1] else 0
                down = channel[i + 1, j] - channel[i, j] if i + 1 < channel.shape[0] else 0
                found += right**2 + down**2
    return found


def test_the_gain_of_2014_is_the_papers_energy_times_sigma_squared(caffe: Network) -> None:
    match = match_of(caffe, "pool1", Mahendran2014(side=32))  # at 32 pixels the weights are the paper's own
    x = 70 * torch.randn(1, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    objective, parts = match(x, 0, range(1))
    image, sigma = x[0].numpy(), 68.92 * math.sqrt(3 * 32 * 32)
    code, wanted = (values.numpy() for values in (caffe.activations(x, ["pool1"])["pool1"], match.wanted[0]))
    error = ((code - wanted) ** 2).sum() / (wanted**2).sum()
    depth = (list(caffe.layers).index("pool1") + 1) / len(caffe.layers)
    weight = 1 if depth <= 0.3 else 10 if depth <= 0.6 else 100
    energy = error + (weight / 2 * total_variation(image) + 8e-10 / 2 * (image**6).sum()) / sigma**2
    assert parts["error"].item() == pytest.approx(error)
    assert objective.item() == pytest.approx(-(sigma**2) * energy)


def test_the_gain_of_2016_is_the_papers_energy_times_the_pixels(caffe: Network) -> None:
    match = match_of(caffe, "pool1", Mahendran2016(error_weight=20.0, side=32))
    x = 70 * torch.randn(1, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    image, pixels = x[0].numpy(), 32 * 32
    colour = ((image**2).sum(0) ** 3).sum() / pixels * 80.0**-6
    energy = (
        20 * match(x, 400, range(1))[1]["error"].item() + (6.5 / 80) ** 2 * total_variation(image) / pixels + colour
    )
    assert match(x, 400, range(1))[0].item() == pytest.approx(-pixels * energy)


@pytest.mark.parametrize("energy", ENERGIES)
@pytest.mark.parametrize("layer", ["conv1", "fc8"])
def test_the_gradient_by_finite_differences(caffe: Network, energy: Any, layer: str) -> None:
    match = match_of(caffe, layer, energy)
    x = 30 * torch.randn(1, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    places = torch.tensor([0, 31, 500, 1023, 1024, 2047, 3071])
    (gradient,) = torch.autograd.grad(match(x.requires_grad_(), 999, range(1))[0].sum(), x)
    with torch.no_grad():
        numerical = toys.numerical_gradient(lambda y: match(y, 999, range(1))[0], x.detach(), places)
    assert torch.allclose(gradient.flatten()[places], numerical, rtol=1e-4, atol=1e-3 * float(gradient.abs().max()))


def test_sigma_is_the_authors_at_their_size_and_grows_with_the_input() -> None:
    weights = Mahendran2014().error_weights((3, 227, 227), [0.5], torch.zeros(1))
    assert weights.sqrt().item() == pytest.approx(27098.12, rel=1e-4)
    for shape in ((3, 227, 227), (3, 64, 64), (1, 16, 16)):
        start = Mahendran2014().start(shape, torch.Generator().manual_seed(0))
        assert start.norm().item() == pytest.approx(68.92 * math.sqrt(math.prod(shape)), rel=1e-5)


def test_noise_of_2016_reaches_its_bound() -> None:
    start = Mahendran2016().start((3, 64, 64), torch.Generator().manual_seed(0))
    assert start.quantile(0.95).item() == pytest.approx(80 / math.sqrt(3), rel=1e-5)


def test_weights_by_depth_are_the_papers_for_twenty_layers() -> None:
    weights = [at_depth(Mahendran2014().total_variation, layer / 20) for layer in range(1, 21)]
    assert weights == [1] * 6 + [10] * 6 + [100] * 8
    assert at_depth(7.0, 0.1) == at_depth(7.0, 1.0) == 7


@pytest.mark.parametrize("energy", [Mahendran2014(alpha_weight=0), Mahendran2016(bound=1000, edge=80)])
def test_total_variation_weighs_a_picture_alike_at_every_size(energy: Any) -> None:
    shares = []
    for side in (50, 200):
        ramp = torch.linspace(-60, 60, side, dtype=torch.float64).expand(1, 3, side, side)
        weight = energy.error_weights((3, side, side), [1.0], ramp)
        shares.append((energy.penalty(ramp, (3, side, side), [1.0]) / weight).item())
    assert shares[0] == pytest.approx(shares[1], rel=0.05)


def test_the_shipped_schedules_are_the_authors() -> None:
    read = {year: yaml.safe_load((CONFIGS / f"optimiser/mahendran{year}.yaml").read_text()) for year in (2014, 2016)}
    first, second = build(read[2014], ""), build(read[2016], "")
    assert first == Momentum(
        steps=400, rate=0.004, momentum=0.9, schedule=((100, 4e-3), (200, 4e-4), (100, 4e-5)), rate_in="gradient"
    )
    rate = 0.05 * 80**2 / 6
    assert [steps for steps, _ in second.schedule] == [300, 50]
    assert [r for _, r in second.schedule] == pytest.approx([rate, rate / 10], rel=1e-4)
    assert (second.momentum, second.memory) == (0.9, 0.9)


@pytest.mark.parametrize("energy", ENERGIES)
def test_the_shipped_energies_are_the_classes_defaults(energy: Any) -> None:
    name = type(energy).__name__.lower()
    assert build(yaml.safe_load((CONFIGS / f"energy/{name}.yaml").read_text()), "") == energy


def test_adagrad_by_hand() -> None:
    """Two phases on the objective -x²/2, whose gradient is -x: each starts anew."""

    def objective(x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
        return -x.square().flatten(1).sum(1) / 2, {}

    x = torch.tensor([[[[4.0]]]])
    found = AdaGrad(schedule=((2, 5.0), (1, 0.5)), momentum=0.9, memory=0.8).maximise(x, objective).images.item()
    first = 4 - 4 / (1 / 5 + 4)
    second = first - 0.9 * 4 / (1 / 5 + 4) - first / (1 / 5 + math.sqrt(first**2 + 0.8 * 16))
    assert found == pytest.approx(second - second / (1 / 0.5 + abs(second)))


def test_colours_are_cut_to_the_bound_along_their_direction() -> None:
    x = 150 * torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    cut = regularisers.limit_colours(x, 160)
    length, before = cut.norm(dim=1), x.norm(dim=1)
    assert (before > 160).any()
    assert (before < 160).any()
    assert torch.allclose(length, before.clamp(max=160))
    assert torch.allclose(torch.cosine_similarity(cut, x, dim=1), torch.ones(2, 5, 5))


@pytest.mark.parametrize("energy", ENERGIES)
@pytest.mark.parametrize("optimiser", [QUICK, LBFGS(steps=3)])
def test_company_changes_no_result(caffe: Network, energy: Any, optimiser: Any) -> None:
    """Photos, layers and restarts together, against each one alone."""
    layers, settings = ("conv1", "pool5", "fc6"), {"energy": energy, "optimiser": optimiser}
    together = invert(caffe, 2, layers=layers, restarts=2, **settings)[1]
    photos = toys.photos(caffe, 2, level=60)
    one = toys.alone(replace(photos, pixels=photos.pixels.to(caffe.mean)), 1)
    for layer in layers:
        (item,) = Inversion(layers=layer, **settings)(caffe, one, Seeds(0)).items
        assert item.metrics[f"{layer}/error"] == pytest.approx(together.metrics[f"{layer}/error_restart_1"], rel=1e-6)


def test_the_best_restart_is_shown_first_and_all_are_reported(caffe: Network) -> None:
    (item,) = invert(caffe, layers="conv1", restarts=3, optimiser=QUICK)
    errors = [item.metrics[f"conv1/error_restart_{k}"] for k in (1, 2, 3)]
    assert len(set(errors)) == 3
    assert item.metrics["conv1/error"] == min(errors)
    shown = (panel(item, "reconstruction_conv1") - caffe.mean)[None]
    assert match_of(caffe, "conv1", FREE).errors(shown, range(1)).item() == pytest.approx(min(errors))
    names = ["photo", "reconstruction_conv1", "another_conv1_2", "another_conv1_3"]
    assert [panel.name for panel in item.panels] == names
    assert [panel.caption for panel in item.panels[1:]] == [f"error {100 * error:.1f} %" for error in sorted(errors)]


@pytest.mark.parametrize(
    ("energy", "optimiser"), [(ENERGIES[0], Momentum(steps=40, rate=0.004)), (ENERGIES[1], AdaGrad(steps=40))]
)
def test_both_versions_run_small(caffe: Network, energy: Any, optimiser: Any) -> None:
    names = ["conv1", "norm1", "pool5", "fc8"]
    (item,) = invert(caffe, layers=tuple(names), energy=energy, optimiser=optimiser)
    assert [panel.name for panel in item.panels] == ["photo", *(f"reconstruction_{name}" for name in names)]
    for name in names:
        trace = item.trace[f"{name}/error"]
        assert len(trace) == 40
        assert 0 < item.metrics[f"{name}/error"] < 1
        assert panel(item, f"reconstruction_{name}").shape == (3, 32, 32)
    assert item.metrics["conv1/error"] < 0.5 * item.trace["conv1/error"][0]


def test_jitter_moves_a_window_of_a_larger_image_and_ends_in_the_middle(caffe: Network) -> None:
    energy = Mahendran2016()
    assert [energy.margin(s) for s in (1, 2, 4, 8, 16, 32)] == [0, 0, 0, 1, 3, 7]
    assert stride(caffe, "fc8") == stride(caffe, "pool5") == 11  # the last layer with positions
    match = match_of(caffe, "pool5", energy)
    x = torch.arange(39.0 * 39).view(1, 1, 39, 39).expand(1, 3, 39, 39)
    offsets = {match.offset(match.targets[0], x, step) for step in range(300)}
    assert {row for row, _ in offsets} == {column for _, column in offsets} == set(range(8))
    assert match.offset(match.targets[0], x, 300) == (3, 3)
    assert torch.equal(match.window(x, [(2, 5)]), x[:, :, 2:34, 5:37])


def snapshot(network: Network) -> tuple[list[str], list[Tensor]]:
    return [str(node) for node in network.module.graph.nodes], copy.deepcopy(list(network.module.parameters()))


@pytest.mark.parametrize("rate", [0.004, 1e9])
def test_nothing_is_left_on_the_network(caffe: Network, rate: float) -> None:
    nodes, before = snapshot(caffe)
    try:
        invert(caffe, layers="fc6", optimiser=Momentum(steps=40, rate=rate), safeguard=False)
    except DeepInsideError as error:
        assert "lower technique.optimiser.rate" in str(error)
        assert rate > 1
    else:
        assert rate < 1
    after = list(caffe.module.parameters())
    assert [str(node) for node in caffe.module.graph.nodes] == nodes
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(after, before, strict=True))
    assert not any(module._forward_hooks or module._backward_hooks for module in caffe.module.modules())


def declared(name: str) -> Network:
    """A network's declaration without its weights: layers by name, nothing to run."""
    root = Path(__file__).parents[2] / "conf_models"
    spec = construct(NetworkSpec, network_node(name, root / f"{name}.yaml"), "network")
    layers = {
        layer: Layer(layer, value, "", (1,) if layer.startswith(("fc", "relu6", "relu7", "prob")) else (1, 2, 2))
        for layer, value in spec.layers.items()
    }
    synonyms = {**{value: layer for layer, value in spec.layers.items()}, **spec.aliases}
    return Network(spec, torch.fx.symbolic_trace(torch.nn.Identity()), layers, synonyms)


def test_keras_names_resolve_on_vgg16() -> None:
    path = Path(__file__).parents[2] / "experiments" / "vgg16_inversion_blocks.yaml"
    layers = yaml.safe_load(path.read_text())["technique"]["layers"]
    blocks = [f"block{block}_conv{layer}" for block in (3, 4, 5) for layer in (1, 2, 3)]
    rectifiers = [f"relu{block}_{layer}" for block in (3, 4, 5) for layer in (1, 2, 3)]
    assert chosen_layers(layers, declared("vgg16")) == dict(zip(blocks, rectifiers, strict=True))
    stand_ins = ["relu2", "norm2", "conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"]
    assert list(chosen_layers(layers, declared("caffenet"))) == stand_ins


def test_layers_by_share_of_the_depth_and_unknown_ones(caffe: Network) -> None:
    layers = [name for name in caffe.layers if not name.startswith("flatten")]
    assert chosen_layers(["nothing | 100%", "1%"], caffe) == {layers[-1]: layers[-1], layers[0]: layers[0]}
    assert chosen_layers("all", caffe) == {name: name for name in layers}
    with pytest.raises(DeepInsideError, match="no layer 'conv9'"):
        chosen_layers(["block9 | conv9"], caffe)


def test_a_layer_that_is_zero_for_a_photo_is_skipped_for_this_photo(tmp_path: Path) -> None:
    network = toys.dead(tmp_path)
    bright = toys.photos(network, 2, level=60)
    batch = replace(bright, pixels=bright.pixels * torch.tensor([1.0, 1e-5]).view(-1, 1, 1, 1))
    conv, relu, _, scores = network.layers
    both, dark = Inversion(optimiser=QUICK)(network, batch, Seeds(0)).items
    assert both.notes == ()
    assert dark.notes == (f"photo1 is not reconstructed from {relu}: the layer is zero everywhere for it",)
    assert [panel.name for panel in both.panels] == ["photo", *(f"reconstruction_{n}" for n in (conv, relu, scores))]
    assert [panel.name for panel in dark.panels] == ["photo", *(f"reconstruction_{n}" for n in (conv, scores))]
    assert all(math.isfinite(value) for value in dark.metrics.values())
    (alone,) = Inversion(optimiser=QUICK)(network, toys.alone(batch, 1), Seeds(0)).items
    assert all(torch.equal(a.values, b.values) for a, b in zip(alone.panels, dark.panels, strict=True))
    (nothing,) = Inversion(layers=relu)(network, toys.alone(batch, 1), Seeds(0)).items
    assert [panel.name for panel in nothing.panels] == ["photo"] and nothing.notes == dark.notes


def test_reconstructions_are_compared_with_the_photo() -> None:
    photo = torch.randint(20, 230, (3, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    shown = {"photo": photo, "2014/reconstruction_conv1": photo + 10, "2014/reconstruction_fc8": photo.clone()}
    panels = [Panel(name, values, "photo") for name, values in shown.items()]
    found = fidelity(Item("cat", "cat", (*panels, Panel("other", photo, "photo"))))
    assert found["2014/conv1/psnr"] == pytest.approx(20 * math.log10(255 / 10))
    assert 0.5 < found["2014/conv1/ssim"] < 1
    assert (found["2014/fc8/psnr"], found["2014/fc8/ssim"]) == (100, pytest.approx(1))
    assert len(found) == 4


@pytest.mark.parametrize(
    ("claim", "good", "bad"),
    [
        ("inversion_loses_pixels_not_representation", {"psnr": (30.0, 20.0, 10.0)}, {"psnr": (10.0, 20.0, 30.0)}),
        ("inversion_matches_every_layer", {"error": (0.01, 0.1, 0.2)}, {"error": (0.01, 0.1, 0.3)}),
        ("inversion_matches_pool5", {"error": (0.01, 0.1, 0.4)}, {"error": (0.01, 0.2, 0.0)}),
    ],
)
def test_claims_hold_and_fail(claim: str, good: Any, bad: Any) -> None:
    network = declared("caffenet")
    for values, verdict in ((good, "holds"), (bad, "fails")):
        # the order of metrics is not that of the layers
        columns = {f"2014/{layer}/{kind}": np.full(6, v) for kind, row in values.items()
                   for layer, v in reversed(list(zip(("conv1", "pool5", "fc8"), row, strict=True)))}  # fmt: skip
        evidence = Evidence(network, toys.photos(network, 0), Seeds(0), {"2014": None, "2016": None}, columns)
        assert evaluate(claim, evidence).verdict == verdict


def test_a_step_that_is_unstable_is_halved_and_said(caffe: Network) -> None:
    """A rate a hundred times too large ends in NaN by itself; safeguarded, it converges and is listed."""
    batch = toys.photos(caffe, 1, level=60)
    batch = replace(batch, pixels=batch.pixels.to(caffe.mean))
    wild = Inversion(layers="fc6", optimiser=Momentum(steps=150, rate=0.4))
    with pytest.raises(DeepInsideError, match="NaN or infinity"):
        replace(wild, safeguard=False)(caffe, batch, Seeds(0))
    found = wild(caffe, batch, Seeds(0))
    (item,) = found.items
    assert item.metrics["fc6/step_scale"] < 1
    assert item.metrics["fc6/error"] < 0.2 * item.trace["fc6/error"][0]
    assert any("step was halved" in sentence for sentence in found.deviations)


def test_where_the_step_is_stable_the_safeguard_changes_no_byte(caffe: Network) -> None:
    (guarded,), (bare,) = (invert(caffe, layers="pool5", optimiser=QUICK, safeguard=on) for on in (True, False))
    assert torch.equal(panel(guarded, "reconstruction_pool5"), panel(bare, "reconstruction_pool5"))
    assert guarded.metrics == bare.metrics


def test_a_claim_that_cannot_be_measured_is_refused_before_the_work(caffe: Network) -> None:
    last = last_spatial_layer(caffe)
    check_measurable(("inversion_matches_pool5",), caffe, {"": Inversion(layers=("conv1", last))})
    with pytest.raises(DeepInsideError, match=f"expected {last}, the last spatial layer"):
        check_measurable(("inversion_matches_pool5",), caffe, {"": Inversion(layers=("conv1", "fc8"))})
    with pytest.raises(DeepInsideError, match="at least two inverted layers, found 1"):
        check_measurable(("inversion_matches_every_layer",), caffe, {"": Inversion(layers="conv1")})
