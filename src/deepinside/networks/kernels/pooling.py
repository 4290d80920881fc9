"""Max-pooling windows that extend beyond the edge, without a padded copy of the maps."""

from collections.abc import Mapping, Sequence

from torch import fx, nn

from deepinside.networks.spec import Layer


def drop_padding(module: fx.GraphModule, layers: Mapping[str, Layer]) -> None:
    """Replace a −∞ padding at the lower and right edges, with the pooling after it, by `ceil_mode`. In place."""
    for node in list(module.graph.nodes):
        pooling, padding = _module(module, node), _module(module, _before(node))
        if isinstance(pooling, nn.MaxPool2d) and _at_far_edges(padding) and _reaches(node, pooling, layers):
            pooling.ceil_mode = True
            node.replace_input_with(_before(node), _before(_before(node)))
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def _before(node: fx.Node) -> fx.Node:
    """The node's first input node, or the node itself if it has none."""
    return node.all_input_nodes[0] if node.all_input_nodes else node


def _module(module: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _at_far_edges(padding: nn.Module | None) -> bool:
    """Whether this pads with −∞, below and to the right only (onnx2torch's own padding module)."""
    left, _, top, *further = getattr(padding, "pads", (1, 1, 1))
    return (left, top) == (0, 0) and len(further) == 1 and getattr(padding, "constant_value", 0) == -float("inf")


def _reaches(node: fx.Node, pooling: nn.MaxPool2d, layers: Mapping[str, Layer]) -> bool:
    """Whether `ceil_mode` on the unpadded map gives the same windows."""
    before, found = (layers.get(str(one.meta.get("layer"))) for one in (_before(_before(node)), node))
    if before is None or found is None or any(_two(pooling.padding)):
        return False
    windows, strides = _two(pooling.kernel_size), _two(pooling.stride)
    sides = zip(before.shape[1:], windows, strides, strict=True)
    ends = tuple(-(-(side - window) // stride) + 1 for side, window, stride in sides)
    touching = all(stride <= window for window, stride in zip(windows, strides, strict=True))
    return touching and set(_two(pooling.dilation)) == {1} and ends == found.shape[1:]


def _two(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)
