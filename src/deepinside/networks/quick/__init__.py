"""The same numbers in less time, whatever the batch: what a converted graph is given before it is verified and used."""

from collections.abc import Mapping

from torch import fx, nn

from deepinside.networks.quick.convolution import LAYOUT, Convolution
from deepinside.networks.quick.matrix import FullyConnected
from deepinside.networks.quick.norm import CrossChannelNorm
from deepinside.networks.quick.pooling import drop_padding
from deepinside.networks.spec import Layer

__all__ = ["LAYOUT", "fuse", "quicken"]


def quicken(module: fx.GraphModule, layers: Mapping[str, Layer]) -> fx.GraphModule:
    """`module` with its layers replaced by their quick kind and its weights laid out for speed; changed in place."""
    channels = {node.target: layers[node.meta["layer"]].shape[0] for node in module.graph.nodes if "layer" in node.meta}
    for name, part in list(module.named_modules()):
        quick = _quick(part, channels.get(name))
        if quick is not None:
            module.set_submodule(name, quick)
    drop_padding(module, layers)
    module.to(memory_format=LAYOUT)  # type: ignore[call-overload]
    return module.eval()


def fuse(module: fx.GraphModule) -> fx.GraphModule:
    """`module` with every convolution whose output only a rectifier takes doing that too; changed in place."""
    for node in list(module.graph.nodes):
        before = node.all_input_nodes[0] if _kind(module, node) is nn.ReLU else node
        if _kind(module, before) is Convolution and list(before.users) == [node]:
            before.kwargs = {"rectified": True}
            node.replace_all_uses_with(before)
            module.graph.erase_node(node)
    module.recompile()
    return module


def _kind(module: fx.GraphModule, node: fx.Node) -> type[nn.Module] | None:
    """The kind of module that a node of the graph is, if it is one."""
    return type(module.get_submodule(str(node.target))) if node.op == "call_module" else None


def _quick(part: nn.Module, channels: int | None) -> nn.Module | None:
    """What takes a module's place, None where it stays. `channels` are those of the layer it computes."""
    if isinstance(part, nn.LocalResponseNorm) and channels is not None:
        return CrossChannelNorm(part, channels)
    if type(part) is nn.Linear:
        return FullyConnected.of(part)
    if type(part) is nn.Conv2d and part.padding_mode == "zeros" and not isinstance(part.padding, str):
        return Convolution.of(part)
    return None
