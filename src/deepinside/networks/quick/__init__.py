"""The same numbers in less time, whatever the batch: what a converted graph is given before it is verified and used."""

from collections.abc import Mapping

from torch import fx, nn

from deepinside.networks.quick.convolution import LAYOUT, Convolution
from deepinside.networks.quick.matrix import FullyConnected
from deepinside.networks.quick.norm import CrossChannelNorm
from deepinside.networks.spec import Layer

__all__ = ["LAYOUT", "quicken"]


def quicken(module: fx.GraphModule, layers: Mapping[str, Layer]) -> fx.GraphModule:
    """`module` with its layers replaced by their quick kind and its weights laid out for speed; changed in place."""
    channels = {node.target: layers[node.meta["layer"]].shape[0] for node in module.graph.nodes if "layer" in node.meta}
    for name, part in list(module.named_modules()):
        quick = _quick(part, channels.get(name))
        if quick is not None:
            module.set_submodule(name, quick)
    module.to(memory_format=LAYOUT)  # type: ignore[call-overload]
    return module.eval()


def _quick(part: nn.Module, channels: int | None) -> nn.Module | None:
    """What takes a module's place, None where it stays. `channels` are those of the layer it computes."""
    if isinstance(part, nn.LocalResponseNorm) and channels is not None:
        return CrossChannelNorm(part, channels)
    if type(part) is nn.Linear:
        return FullyConnected.of(part)
    if type(part) is nn.Conv2d and part.padding_mode == "zeros" and not isinstance(part.padding, str):
        return Convolution.of(part)
    return None
