"""Units of a layer, and receptive fields: the formula for stacks of convolutions and poolings against gradients."""

import graphs
import numpy as np
import pytest
import torch
import toys

from deepinside.attribution.units import Units, central, receptive_field
from deepinside.networks.network import Network
from deepinside.networks.spec import InputConvention

SIDE = 48
STACK = [("Conv", 5, 2, 2), ("Relu", 1, 1, 0), ("MaxPool", 3, 2, 0), ("Conv", 3, 1, 1), ("Conv", 3, 2, 0)]
"""Operation, kernel, stride and padding, from the image up."""
SIDES = (SIDE, 24, 24, 11, 11)
"""The side of what each of them is applied to."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """The layers of `STACK` with 8 channels each, then scores; its image is 48x48."""
    rng = np.random.default_rng(0)
    nodes, weights, last, channels = [], {}, "data_0", 3
    for number, (kind, kernel, stride, padding) in enumerate(STACK, 1):
        extra = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4} if kernel > 1 else {}
        inputs = [last]
        if kind == "Conv":
            weights |= graphs.filters(rng, f"l{number}", (8, channels, kernel, kernel))
            inputs += [f"l{number}_w_0", f"l{number}_b_0"]
            channels = 8
        nodes.append(graphs.node(kind, " ".join(inputs), f"l{number}_1", **extra))
        last = f"l{number}_1"
    weights |= graphs.filters(rng, "fc8", (4, 8 * 5 * 5))
    nodes += [graphs.node("Flatten", last, "flat_1"), graphs.node("Gemm", "flat_1 fc8_w_0 fc8_b_0", "fc8_1", transB=1)]
    model = graphs.model(nodes, weights, output="fc8_1", shape=("N", 3, SIDE, SIDE), opset=13)
    convention = InputConvention(size=(SIDE, SIDE), mean=(123, 117, 104))
    return toys.ready(model, tmp_path_factory.mktemp("stack"), "fc8", convention, output="scores", name="stack")


def by_formula(first: int, last: int, depth: int) -> tuple[int, int]:
    """The first pixel and the one after the last that places `first` to `last` of the layer at `depth` depend on."""
    for size, (_, kernel, stride, padding) in reversed(list(zip(SIDES, STACK[:depth], strict=False))):
        first = max(first * stride - padding, 0)
        last = min(last * stride - padding + kernel - 1, size - 1)
    return first, last + 1


@pytest.mark.parametrize("neighbourhood", [1, 2, 3])
def test_the_field_of_a_stack_of_layers_is_that_of_the_formula(stack: Network, neighbourhood: int) -> None:
    layers = [name for name, layer in stack.layers.items() if len(layer.shape) == 3]
    assert len(layers) == len(STACK)
    for depth, name in enumerate(layers, 1):
        middle = central(stack.layers[name].shape[1], neighbourhood)
        first, end = by_formula(middle.start, middle.stop - 1, depth)
        assert receptive_field(stack, name, Units(neighbourhood)) == (first, first, end, end), name


def test_scores_see_what_all_positions_of_the_last_map_see(stack: Network) -> None:
    first, end = by_formula(0, 4, len(STACK))
    assert (first, end) == (0, SIDE - 1)  # the strides leave out the last pixel
    for layer in list(stack.layers)[-3:]:
        assert receptive_field(stack, layer, Units(99)) == (first, first, end, end)


def test_units_are_cut_from_the_middle_and_from_either_half() -> None:
    maps = torch.arange(2 * 5 * 7 * 8).view(2, 5, 7, 8)
    assert torch.equal(Units().of(maps), maps)
    assert torch.equal(Units(3).of(maps), maps[:, :, 2:5, 2:5])
    assert torch.equal(Units(7).of(maps), maps[:, :, :, :7])
    halves = [Units(channels=half).of(maps) for half in ("first_half", "second_half")]  # type: ignore[arg-type]
    assert [half.shape[1] for half in halves] == [2, 3] and torch.equal(torch.cat(halves, 1), maps)
    scores, tokens = maps[:, :, 0, 0], maps[:, 0]
    assert torch.equal(Units(3, "first_half").of(scores), scores[:, :2])
    assert torch.equal(Units(3, "first_half").of(tokens), tokens[:, :, :4].movedim(-1, 1))


def test_a_neighbourhood_omits_positions_of_larger_maps_only() -> None:
    assert Units(5).omits_positions((3, 5, 6))
    assert not any(Units(5).omits_positions(shape) for shape in ((3, 5, 5), (9,), (9, 9)))
    assert not Units().omits_positions((3, 9, 9))
