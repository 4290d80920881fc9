"""Fast, batch-invariant kernels. A converted graph gets them before it is verified and used."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, fx, nn

from deepinside.networks.kernels.convolution import Convolution
from deepinside.networks.kernels.layout import LAYOUT
from deepinside.networks.kernels.matrix import FullyConnected
from deepinside.networks.kernels.norm import CrossChannelNorm
from deepinside.networks.kernels.pooling import MaxPooling, drop_padding, fits
from deepinside.networks.spec import Layer

__all__ = [
    "LAYOUT", "backward_dtypes", "fuse_layers", "set_backward_dtype", "set_winograd", "use_fast_kernels",
    "winograd_flags",
]  # fmt: skip


def use_fast_kernels(module: fx.GraphModule, layers: Mapping[str, Layer]) -> fx.GraphModule:
    """Replace layers by their fast versions and lay out weights for speed. Changes `module` in place and returns it."""
    for name, part in list(module.named_modules()):
        fast = _fast_version(part)
        if fast is not None:
            module.set_submodule(name, fast)
    drop_padding(module, layers)
    module._apply(_laid_out)
    return module.eval()


def backward_dtypes(module: nn.Module) -> set[torch.dtype | None]:
    """The `backward_dtype` of every layer that has one."""
    return {part.backward_dtype for part in module.modules() if isinstance(part, Convolution | FullyConnected)}


def set_backward_dtype(module: fx.GraphModule, dtype: torch.dtype | None) -> None:
    """Let convolutions and fully connected layers compute input gradients in `dtype`; None is that of their weights."""
    for part in module.modules():
        if isinstance(part, Convolution | FullyConnected):
            part.backward_dtype = dtype


def winograd_flags(module: nn.Module) -> set[bool]:
    """The attribute `winograd` of every layer that has it."""
    return {part.winograd for part in module.modules() if isinstance(part, Convolution)}


def set_winograd(module: fx.GraphModule, allowed: bool) -> None:
    """Let large 3×3 convolutions use `Winograd`, or not."""
    for part in module.modules():
        if isinstance(part, Convolution):
            part.winograd = allowed


def _laid_out(tensor: Tensor) -> Tensor:
    """Filters and maps laid out for speed; `Module.to` would refuse other tensors of five axes, as Swin's masks are."""
    return tensor.contiguous(memory_format=LAYOUT) if tensor.ndim == 4 else tensor


def fuse_layers(module: fx.GraphModule) -> fx.GraphModule:
    """Fuse neighbouring layers whose intermediate values have no other user. The results are the same numbers. Changes
    `module` in place and returns it."""
    for node in list(module.graph.nodes):
        if _kind(module, node) is nn.ReLU and _kinds(module, node.users) == [MaxPooling]:
            _rectify(next(iter(node.users)), node)
    for node in list(module.graph.nodes):
        if _kind(module, node) is Convolution and _kinds(module, node.users) == [nn.ReLU]:
            _rectify(node, next(iter(node.users)))
    module.recompile()
    return module


def _rectify(layer: fx.Node, relu: fx.Node) -> None:
    """Let a layer apply its neighbour, a ReLU. Max-pooling and ReLU commute, and the pooled map is smaller."""
    layer.kwargs = {"rectified": True}
    relu.replace_all_uses_with(relu.all_input_nodes[0])
    relu.graph.erase_node(relu)


def _kinds(module: fx.GraphModule, nodes: Iterable[fx.Node]) -> list[type[nn.Module] | None]:
    return [_kind(module, node) for node in nodes]


def _kind(module: fx.GraphModule, node: fx.Node) -> type[nn.Module] | None:
    """The class of the module that a node calls; None for other nodes."""
    return type(module.get_submodule(str(node.target))) if node.op == "call_module" else None


def _fast_version(part: nn.Module) -> nn.Module | None:
    """The fast replacement of a module, or None to keep it."""
    if isinstance(part, nn.LocalResponseNorm):
        return CrossChannelNorm(part)
    if type(part) is nn.MaxPool2d and fits(part):
        return MaxPooling.of(part)
    if type(part) is nn.Linear:
        return FullyConnected.of(part)
    if type(part) is nn.Conv2d and part.padding_mode == "zeros" and not isinstance(part.padding, str):
        return Convolution.of(part)
    return None
