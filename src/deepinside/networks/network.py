"""A network ready for use: its layers by name, its class scores, and methods that run or rewrite parts of its graph.

No hooks are used. A part is a copy of the needed nodes; a rewritten network is a changed copy.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, fx, nn

from deepinside.config.suggestions import nearest
from deepinside.errors import DeepInsideError
from deepinside.networks.cuda_graphs import Replays
from deepinside.networks.kernels import LAYOUT, fuse_layers
from deepinside.networks.onnx.convert import LAYER
from deepinside.networks.spec import InputConvention, Label, Layer, NetworkSpec, Posterior

Replacement = Callable[[str, nn.Module], nn.Module | None]


HALF = (torch.bfloat16, torch.float16)
"""Half precisions are used inside a network only: images and the activations that techniques receive stay float32."""


class Part(nn.Module):
    """The part of a network that computes some layers from image space (N, 3, H, W).

    `graph` computes it layer by layer, for inspection; `run` computes the same with fused layers.
    """

    def __init__(self, graph: fx.GraphModule, convention: InputConvention, single_image: bool = False) -> None:
        super().__init__()
        self.graph = graph
        self.run = OneByOne(fuse_layers(_clone(graph))) if single_image else fuse_layers(_clone(graph))
        self.convention = convention
        self.replays = Replays(self.run)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        native = self.convention.native(x).contiguous(memory_format=LAYOUT)
        computing = computing_dtype(self.graph)
        if computing not in HALF:
            return self.computed(native)
        return tuple(values.to(x.dtype) for values in self.computed(native.to(computing)))

    def computed(self, native: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs; on a GPU with gradients, replayed as a CUDA graph after a few uses of a shape."""
        return (self.replays if native.is_cuda and native.requires_grad else self.run)(native)


class OneByOne(nn.Module):
    """Runs a batch through a graph that takes one image, image by image, so no result depends on the batch.

    Values with one row per image are concatenated; values with several rows (windows, patches) are stacked.
    """

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = [self.graph(image) for image in images.split(1)]
        return tuple(joined(values) for values in zip(*found, strict=True))


def joined(values: Sequence[Tensor]) -> Tensor:
    """One tensor (N, …) of the values of N images."""
    if len(values) == 1 and len(values[0]) == 1:
        return values[0]  # the tensor itself, so that gradients with respect to it can be computed
    return torch.cat(list(values)) if len(values[0]) == 1 else torch.stack(list(values))


class First(nn.Module):
    """A part with one layer, returning its activations as a tensor."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x)[0]


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A verified network.

    `module` is its torch.fx graph: evaluation mode, frozen parameters, input in the network's own convention; the node
    that computes a layer has the layer's name in `node.meta["layer"]`. Methods take image space: RGB mean-subtracted
    pixels (N, 3, H, W), or (N, 1, H, W) for a grey network. `layers` are in graph order. `synonyms` are further names
    that `resolve` accepts (ONNX values, aliases). `checks` holds, by layer, the largest difference between torch and
    onnxruntime relative to the layer's largest value. `groups` are sets of class indices, such as the cats.
    `deviations` say where scores differ from the file's own. `posterior` turns scores into probabilities. `gates` are
    layers that clamp like a ReLU but scale another signal, so ReLU rules do not apply to them. `notes` say what was
    chosen or guessed; every run reports them. With `single_image` the graph takes one image at a time; the methods
    still take any number.
    """

    spec: NetworkSpec
    module: fx.GraphModule
    layers: Mapping[str, Layer]
    synonyms: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[Label, ...] = ()
    sha256: str = ""
    checks: Mapping[str, float] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    posterior: Posterior = "softmax"
    gates: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    single_image: bool = False
    _parts: dict[tuple[str, ...], Part] = field(default_factory=dict, init=False, repr=False)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.size))
        return f"<{self.name}: {self.spec.title}; {len(self.layers)} layers, input {size}, {self.classes} classes>"

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def input(self) -> InputConvention:
        return self.spec.input

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.spec.input.size

    @property
    def target(self) -> str:
        """Canonical name of the layer of class scores."""
        return self.resolve(self.spec.target)

    @property
    def classes(self) -> int:
        """Number of class scores; 0 for a representation without classes, such as HOG."""
        return 0 if self.spec.output == "features" else self.layers[self.target].shape[0]

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of images and activations: float32 if the network computes in half precision."""
        computing = computing_dtype(self.module)
        return torch.float32 if computing in HALF else computing

    @property
    def mean(self) -> Tensor:
        """The mean in intensities 0–255, RGB, (3, 1, 1); (1, 1, 1) for a grey network; (C, H, W) of a mean image."""
        return self.input.mean_at(self.size, self.dtype, self.device)

    def resolve(self, name: str) -> str:
        """Canonical name of a layer from its Caffe name, ONNX value name or alias; an error lists the known names."""
        if name in self.layers:
            return name
        if self.synonyms.get(name) in self.layers:
            return self.synonyms[name]
        near = nearest(name, [*self.layers, *self.synonyms], cutoff=0.5)
        first = dict.fromkeys(self.synonyms.get(n, n) for n in near if self.synonyms.get(n, n) in self.layers)
        known = ", ".join([*first, *(layer for layer in self.layers if layer not in first)])
        raise DeepInsideError(f"{self.name} has no layer {name!r}; known, nearest first: {known}")

    def scores(self, x: Tensor) -> Tensor:
        """Un-normalised class scores (N, classes) of `x` in image space. A map (N, classes, H, W) is averaged.

        Raises DeepInsideError for a representation without classes.
        """
        if not self.classes:
            raise DeepInsideError(f"{self.name} computes features, not class scores; use activations of its layers")
        return as_scores(self._part((self.target,))(x)[0])

    def activations(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Activations of `layers` by the requested names, each (N, C, H, W) or (N, C), for `x` in image space.

        Runs only the needed part of the graph, once. Raises DeepInsideError for an unknown layer.
        """
        names = tuple(dict.fromkeys(self.resolve(layer) for layer in layers))
        values = dict(zip(names, self._part(names)(x), strict=True)) if names else {}
        return {layer: values[self.resolve(layer)] for layer in layers}

    def upto(self, layer: str) -> First:
        """A module from image space to one layer's activations that runs only the needed part of the graph."""
        return First(self._part((self.resolve(layer),)))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Network":
        """A network on that device that computes in `dtype`; this one is not moved."""
        computing = computing_dtype(self.module)
        device, dtype = torch.device(device or self.device), dtype or computing
        if (device, dtype) == (self.device, computing):
            return self
        return replace(self, module=copy.deepcopy(self.module).to(device=device, dtype=dtype))

    def with_module(self, module: fx.GraphModule) -> "Network":
        """This network with another graph. Its layers are those that the graph's `node.meta["layer"]` still name."""
        marked = {node.meta.get(LAYER) for node in module.graph.nodes}
        layers = {name: layer for name, layer in self.layers.items() if name in marked}
        if self.target not in layers:
            raise DeepInsideError(f"{self.name}: the rewritten graph has lost its target layer {self.target!r}")
        return replace(self, module=module.eval(), layers=layers)

    def rewritten(self, change: Callable[[fx.GraphModule], fx.GraphModule | None]) -> "Network":
        """A new network on a copy of the graph, parameters included, after `change` edited or replaced the copy.

        A node that replaces a layer must keep its meta: `old.replace_all_uses_with(new, propagate_meta=True)`.
        """
        graph = copy.deepcopy(self.module)
        changed = change(graph) or graph
        changed.graph.lint()
        changed.recompile()
        return self.with_module(changed)

    def with_modules(self, choose: Replacement) -> "Network":
        """A new network in which `choose(layer, module)` may replace a layer's module (None keeps it).

        Other modules are shared with this network, so `choose` must return new ones and change none.
        """
        clone = _clone(self.module)
        for node in list(clone.graph.nodes):
            if node.op == "call_module" and LAYER in node.meta:
                other = choose(node.meta[LAYER], clone.get_submodule(node.target))
                if other is not None:
                    clone.add_submodule(node.target, other)
        return self.with_module(clone)

    def module_of(self, layer: str) -> nn.Module | None:
        """The module that computes a layer; None if a rewrite made it a function."""
        node = _marked(self.module.graph)[self.resolve(layer)]
        return self.module.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _part(self, names: tuple[str, ...]) -> Part:
        if names not in self._parts:
            self._parts[names] = Part(_cut(self.module, names), self.input, self.single_image)
        return self._parts[names]


def computing_dtype(module: nn.Module) -> torch.dtype:
    """The dtype of a graph's parameters; float32 if it has none."""
    return next((p.dtype for p in module.parameters()), torch.float32)


def as_scores(values: Tensor) -> Tensor:
    """Class scores (N, classes) from the activations of their layer; maps (N, classes, H, W) are averaged."""
    return values.flatten(2).mean(dim=2) if values.dim() > 2 else values


def _marked(graph: fx.Graph) -> dict[str, fx.Node]:
    return {node.meta[LAYER]: node for node in graph.nodes if LAYER in node.meta}


def _clone(module: fx.GraphModule) -> fx.GraphModule:
    """A copy of the graph; modules are shared."""
    graph = fx.Graph()
    output = graph.graph_copy(module.graph, {})
    graph.output(output)
    return fx.GraphModule(module, graph).eval()


def _cut(module: fx.GraphModule, names: tuple[str, ...]) -> fx.GraphModule:
    """A copy of the graph that returns the named layers and runs only what they need; parameters are shared."""
    clone = _clone(module)
    marked = _marked(clone.graph)
    end = next(node for node in clone.graph.nodes if node.op == "output")
    end.args = (tuple(marked[name] for name in names),)
    clone.graph.eliminate_dead_code()
    clone.delete_all_unused_submodules()
    clone.recompile()
    return clone
