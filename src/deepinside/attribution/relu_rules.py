"""The backward pass of ReLUs: the only difference between the gradient, DeconvNet and guided back-propagation.

X_n is the input of a ReLU (the papers' rectifier), R_{n+1} the signal at its output (Simonyan et al. 2013, Sect. 4):

    gradient    R_n = R_{n+1} · 1(X_n > 0)
    deconvnet   R_n = R_{n+1} · 1(R_{n+1} > 0)                   Zeiler & Fergus 2013
    guided      R_n = R_{n+1} · 1(X_n > 0) · 1(R_{n+1} > 0)      Springenberg et al. 2014

Convolutions, matrices and max-pooling have the same backward pass in all three. Zeiler & Fergus skipped contrast
normalisation in the backward pass; here LRN passes its gradient, so that the ReLU is the only difference.

A ReLU is max(x, 0), also with a ceiling, such as min(max(x, 0), 6) in MobileNetV2. The gradient's mask is zero at and
above the ceiling, as it is below zero; the DeconvNet's mask does not depend on X_n, so the ceiling does not affect it.
ReLUs are found whichever operator computes them (see `deepinside.networks.onnx.relus`). Clamps inside a gate, as in
hard-swish and squeeze-and-excitation, are not ReLUs of the main path and keep their gradient. So do activations that
pass part of the negative side (LeakyRelu, PRelu, Elu) or are smooth (Sigmoid, Swish, Gelu): the papers' rules do not
define them.
"""

import math
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from deepinside.errors import UnsuitableSettingError
from deepinside.networks.network import Network
from deepinside.networks.onnx.convert import LAYER

ReluRule = Literal["gradient", "deconvnet", "guided"]
Mask = Callable[[Tensor, Tensor, float], Tensor]

RELU_CALLS = (torch.relu, torch.relu_, F.relu, F.relu_, "relu", "relu_")
RELU6_CALLS = (F.relu6,)
CLAMP_CALLS = (torch.clamp, torch.clamp_, torch.clip, torch.clip_, F.hardtanh, "clamp", "clamp_", "clip", "clip_")
FLOOR_CALLS = (torch.clamp_min, torch.clamp_min_, "clamp_min", "clamp_min_")
"""How a graph can spell a ReLU without a module: functions, and methods by name."""


def gradient(x: Tensor, above: Tensor, ceiling: float) -> Tensor:
    """1(0 < X_n < ceiling): a mask of the shape of `x`. Simonyan et al. 2013, Sect. 4."""
    return x > 0 if ceiling == math.inf else (x > 0) & (x < ceiling)


def deconvnet(x: Tensor, above: Tensor, ceiling: float) -> Tensor:
    """1(R_{n+1} > 0): a mask of the shape of `x`. Simonyan et al. 2013, Sect. 4; Zeiler & Fergus 2013."""
    return above > 0


def guided(x: Tensor, above: Tensor, ceiling: float) -> Tensor:
    """Both masks, in the shape of `x`. Springenberg et al. 2014, Sect. 3.4."""
    return gradient(x, above, ceiling) & deconvnet(x, above, ceiling)


MASKS: dict[ReluRule, Mask] = {"gradient": gradient, "deconvnet": deconvnet, "guided": guided}


class ReluRuleFunction(torch.autograd.Function):
    """A ReLU in the forward pass; in the backward pass, the signal times the rule's mask."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float, mask: Mask) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ceiling, ctx.mask = ceiling, mask
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return above * ctx.mask(x, above, ctx.ceiling), None, None


class ReluWithRule(nn.Module):
    """min(max(x, 0), ceiling) with a rule for its backward pass."""

    def __init__(self, rule: ReluRule, ceiling: float) -> None:
        super().__init__()
        self.rule = rule
        self.ceiling = ceiling

    def forward(self, x: Tensor) -> Tensor:
        return ReluRuleFunction.apply(x, self.ceiling, MASKS[self.rule])

    def extra_repr(self) -> str:
        return f"rule={self.rule}, ceiling={self.ceiling:g}"


def with_rule(network: Network, rule: ReluRule) -> tuple[Network, int]:
    """A network whose ReLUs use `rule`, and their number. `network` is not modified; the weights are shared.

    Raises DeepInsideError if there is no ReLU, since all rules would then be the gradient.
    """
    ruled, count = replace_relus(network, lambda ceiling: ReluWithRule(rule, ceiling))
    if not count:
        raise no_relu_error(rule, f"found none in {network.name}")
    return ruled, count


def no_relu_error(rule: ReluRule, found: str) -> UnsuitableSettingError:
    """The error if a rule has no ReLU to act on."""
    problem = f"relu_rule: expected ReLUs for {rule} to act on, {found}"
    return UnsuitableSettingError(problem, "relu_rule", "gradient")


def check_rule(network: Network, rule: ReluRule, layers: Iterable[str] = ()) -> None:
    """Raise UnsuitableSettingError if a rule other than the gradient's has no ReLU to act on, in the network or below
    one of `layers`."""
    if rule == "gradient":
        return
    if not list(find_relus(network.module, network.gates)):
        raise no_relu_error(rule, f"found none in {network.name}")
    for layer in layers:
        if not count_relus(network, layer):
            raise no_relu_error(rule, f"found none below the target's layer {layer}")


def rule_notes(network: Network, rule: ReluRule, layer: str) -> tuple[str, ...]:
    """A sentence that lists the ReLUs that a rule acts on for a target in `layer`; none for the gradient's rule."""
    if rule == "gradient":
        return ()
    nodes = [node for node, _ in find_relus(network.upto(layer).part.graph, network.gates)]
    names = [str(node.meta.get(LAYER, node.name)) for node in nodes]
    said = f"The rule of {rule} acts on {len(names)} ReLUs: {', '.join(names)}"
    gates = [name for name in network.layers if name in network.gates]
    return (f"{said}; not on those in gates: {', '.join(gates)}." if gates else f"{said}.",)


def without_relus(network: Network) -> Network:
    """A network whose ReLUs are the identity; `network` is not modified."""
    return replace_relus(network, lambda ceiling: nn.Identity())[0]


def count_relus(network: Network, layer: str) -> int:
    """The number of ReLUs between the image and `layer`: those that a rule acts on for a target there."""
    return len(list(find_relus(network.upto(layer).part.graph, network.gates)))


def replace_relus(network: Network, make: Callable[[float], nn.Module]) -> tuple[Network, int]:
    """A network with `make(ceiling)` in place of every ReLU, and their number.

    Each node of the graph gets its own module, so that a module used several times is replaced each time.
    """
    graph = fx.Graph()
    graph.output(graph.graph_copy(network.module.graph, {}))
    changed = fx.GraphModule(network.module, graph)
    found = list(find_relus(changed, network.gates))
    for node, ceiling in found:
        name = f"{node.name}_ruled"
        changed.add_submodule(name, make(ceiling))
        # in place: the node keeps its users and its layer's name
        node.op, node.target, node.args, node.kwargs = "call_module", name, (source(node),), {}
    changed.delete_all_unused_submodules()
    changed.graph.lint()
    changed.recompile()
    return network.with_module(changed), len(found)


def source(node: fx.Node) -> fx.Node:
    return node.all_input_nodes[0]


def find_relus(module: fx.GraphModule, gates: Container[str] = ()) -> Iterator[tuple[fx.Node, float]]:
    """Every node that computes min(max(x, 0), ceiling), with its ceiling (infinite if there is none), except those that
    compute one of the layers `gates`."""
    for node in module.graph.nodes:
        if node.meta.get(LAYER) in gates:
            continue
        if node.op == "call_module":
            limits = module_limits(module.get_submodule(str(node.target)))
        elif node.op in ("call_function", "call_method"):
            limits = call_limits(node)
        else:
            continue
        if limits is not None and limits[0] == 0 and limits[1] > 0:
            yield node, limits[1]


def module_limits(module: nn.Module) -> tuple[float, float] | None:
    """Floor and ceiling of a module that clamps, None for any other. ReLU6 and ONNX's Clip are clamps here."""
    if isinstance(module, ReluWithRule):
        return 0, module.ceiling
    if isinstance(module, nn.ReLU):
        return 0, math.inf
    if isinstance(module, nn.Threshold) and module.threshold == module.value:
        return float(module.value), math.inf
    # nn.Hardtanh, its child nn.ReLU6, and what onnx2torch makes of Clip
    if hasattr(module, "min_val") and hasattr(module, "max_val"):
        return limits_of(module.min_val, module.max_val)
    return None


def call_limits(node: fx.Node) -> tuple[float, float] | None:
    """Floor and ceiling of a function or method that clamps, None for any other."""
    if node.target in RELU_CALLS:
        return 0, math.inf
    if node.target in RELU6_CALLS:
        return 0, 6
    low, high = argument(node, 1, "min", "min_val"), argument(node, 2, "max", "max_val")
    if node.target in FLOOR_CALLS:
        return limits_of(low, None)
    if node.target is F.hardtanh:
        return limits_of(-1 if low is None else low, 1 if high is None else high)
    return limits_of(low, high) if node.target in CLAMP_CALLS else None


def argument(node: fx.Node, place: int, *names: str) -> Any:
    found = [node.kwargs[name] for name in names if name in node.kwargs]
    return found[0] if found else node.args[place] if len(node.args) > place else None


def limits_of(low: Any, high: Any) -> tuple[float, float] | None:
    """The limits as numbers; None if they are computed, in which case the node is not a ReLU."""
    try:
        return (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))
    except (TypeError, ValueError):
        return None
