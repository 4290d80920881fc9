"""The way back through a network written out layer by layer, slow and plain: an oracle for the rules of rectifiers.

No autograd. A convolution goes back through the transposed convolution, max-pooling through its switches, a rectifier
by the formula of Simonyan et al. 2013, Sect. 4.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from deepinside.networks.network import Network


def image_signal(network: Network, x: Tensor, channel: int, rule: str) -> Tensor:
    """What one class score sends back to `x` (N, 3, H, W) in image space by `rule`."""
    values = forwards(network, network.input.native(x))
    nodes = list(network.module.graph.nodes)
    last = next(node for node in nodes if node.meta.get("layer") == network.target)
    signals = {last: torch.zeros_like(values[last])}
    signals[last][:, channel] = 1
    for node in reversed(nodes[: nodes.index(last) + 1]):
        if node.op == "call_module":
            module = network.module.get_submodule(str(node.target))
            inputs = [values[parent] for parent in node.all_input_nodes]
            for parent, signal in zip(node.all_input_nodes, back(module, inputs, signals[node], rule), strict=True):
                signals[parent] = signals.get(parent, 0) + signal
    image = signals[nodes[0]]
    units = torch.tensor(network.input.pixels_per_unit, dtype=x.dtype).view(-1, 1, 1)
    return (image.flip(1) if network.input.channels == "bgr" else image) / units


def forwards(network: Network, x: Tensor) -> dict[fx.Node, Tensor]:
    """Every node's value."""
    values: dict[fx.Node, Tensor] = {}
    for node in network.module.graph.nodes:
        if node.op == "placeholder":
            values[node] = x
        elif node.op == "call_module":
            module = network.module.get_submodule(str(node.target))
            values[node] = module(*[values[parent] for parent in node.all_input_nodes])
    return values


def back(module: nn.Module, inputs: list[Tensor], above: Tensor, rule: str) -> list[Tensor]:
    """From the signal above a module to those below it, one for each of its inputs."""
    x, kind = inputs[0], type(module).__name__
    if isinstance(module, nn.Conv2d):
        return [transposed(module, x, above)]
    if isinstance(module, nn.Linear):
        return [above @ module.weight]
    if isinstance(module, nn.MaxPool2d):
        return [unpooled(module, x, above)]
    if kind in ("ReLU", "ReLU6", "OnnxClip"):
        ceiling = float("inf") if kind == "ReLU" else module.max_val
        return [above * mask(rule, x, above, ceiling)]
    if kind == "Flatten":
        return [above.reshape(x.shape)]
    if kind == "OnnxPadStatic":
        rows, columns = x.shape[2:]
        return [above[:, :, :rows, :columns]]
    if kind.startswith("OnnxGlobalAveragePool"):
        return [(above / x[0, 0].numel()).expand_as(x)]
    assert kind == "OnnxBinaryMathOperation" and len(inputs) == 2, kind  # a residual network's addition
    return [above, above]


def mask(rule: str, x: Tensor, above: Tensor, ceiling: float) -> Tensor:
    forward_mask = ((x > 0) * (x < ceiling)).to(x)
    backward_mask = (above > 0).to(x)
    return {"gradient": forward_mask, "deconvnet": backward_mask, "guided": forward_mask * backward_mask}[rule]


def transposed(module: nn.Conv2d, x: Tensor, above: Tensor) -> Tensor:
    full = F.conv_transpose2d(above, module.weight, None, module.stride, 0, 0, module.groups, module.dilation)
    top, left = module.padding if not isinstance(module.padding, str) else (0, 0)
    canvas = x.new_zeros(len(x), x.shape[1], max(full.shape[2], x.shape[2] + 2 * top), x.shape[3] + 2 * left + 9)
    canvas[:, :, : full.shape[2], : full.shape[3]] = full
    return canvas[:, :, top : top + x.shape[2], left : left + x.shape[3]]


def unpooled(module: nn.MaxPool2d, x: Tensor, above: Tensor) -> Tensor:
    _, switches = F.max_pool2d(
        x, module.kernel_size, module.stride, module.padding, ceil_mode=module.ceil_mode, return_indices=True
    )
    return torch.zeros_like(x).flatten(2).scatter_add_(2, switches.flatten(2), above.flatten(2)).view(x.shape)
