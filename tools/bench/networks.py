"""The networks that are measured: as deepinside loads them, and plainly converted as its peers' users would.

CaffeNet and VGG-16 are full-size twins, the zoo's graphs with seeded random weights: speed does not depend on what a
network has learnt. `tinycaffenet` is the trained one that ships with the program.
"""

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, fx, nn
from twins import TWINS, write_twin

from bench import photos
from deepinside.attribution.relu_rules import ReluRule, with_rule
from deepinside.config.catalogue import files
from deepinside.networks.kernels import late
from deepinside.networks.load import assemble, locate
from deepinside.networks.network import Network, as_scores
from deepinside.networks.onnx.convert import LAYER, convert
from deepinside.networks.onnx.graph import PreparedGraph, prepare_graph, read
from deepinside.networks.spec import NetworkSpec, find_spec

late.ENOUGH = 0  # what a long run uses: compiled functions from the start
CHANNELS_LAST = "channels-last"
LAYOUTS = ("usual", CHANNELS_LAST)
TWINNED = ("caffenet", "vgg16")


@dataclass(frozen=True)
class Bench:
    """One network in all the forms that are measured; each is made when it is first asked for."""

    spec: NetworkSpec

    @cached_property
    def prepared(self) -> PreparedGraph:
        """The graph without its soft-max and for any batch, before anything is made faster."""
        return prepare_graph(read(locate(self.spec)), self.spec)

    @cached_property
    def network(self) -> Network:
        """deepinside's own."""
        return assemble(self.prepared, self.spec)

    @cached_property
    def plain(self) -> nn.Module:
        """What onnx2torch makes of the graph, up to the class scores (N, classes): what peers' users have in hand."""
        return scoring(convert(self.prepared), self.network.target).requires_grad_(True)

    @cached_property
    def plain_channels_last(self) -> nn.Module:
        return copy.deepcopy(self.plain).to(memory_format=torch.channels_last)

    def in_layout(self, layout: str, x: Tensor) -> tuple[nn.Module, Tensor]:
        """What a peer's user has in hand in that memory format: the network, and photos from image space."""
        if layout == CHANNELS_LAST:
            return self.plain_channels_last, self.native(x).contiguous(memory_format=torch.channels_last)
        return self.plain, self.native(x)

    @cached_property
    def unquickened(self) -> Network:
        """deepinside's techniques on the plainly converted graph."""
        return replace(self.network, module=convert(self.prepared))

    def ruled(self, rule: ReluRule) -> Network:
        """deepinside's network with this ReLU rule."""
        return self.network if rule == "gradient" else with_rule(self.network, rule)[0]

    def photos(self, count: int) -> Tensor:
        """(count, 3, H, W) in image space: real photographs."""
        return photos.pixels(count, self.spec.input)

    def native(self, x: Tensor) -> Tensor:
        """The same photos as the file wants them: what a peer's user feeds in."""
        return self.network.input.native(x).contiguous()

    def classes(self, count: int) -> list[int]:
        """So many different classes."""
        return [index * (self.network.classes // count) for index in range(count)]


def scoring(module: fx.GraphModule, target: str) -> fx.GraphModule:
    """The graph with the class scores (N, classes) as its output. Changes `module` in place and returns it."""
    scores = next(node for node in module.graph.nodes if node.meta.get(LAYER) == target)
    (end,) = (node for node in module.graph.nodes if node.op == "output")
    with module.graph.inserting_before(end):
        end.args = (module.graph.call_function(as_scores, (scores,)),)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


KNOWN: dict[str, Bench] = {}


def network(name: str) -> Bench:
    """The network of that name, as `network=` takes it, or in that YAML; one at a time is kept.

    The twin of a large one is written under `build/` if it has none yet.
    """
    if name not in KNOWN:
        KNOWN.clear()
        KNOWN[name] = Bench(twin_spec(name) if name in TWINNED else find_spec(str(files("network").get(name, name))))
    return KNOWN[name]


def twin_spec(name: str) -> NetworkSpec:
    """The shipped declaration, for the twin's file, which nobody has trained."""
    folder = photos.BUILD / "twins"
    path = folder / f"{TWINS[name][0]}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_twin(name, folder)
    return replace(
        find_spec(name), folder=str(folder), file=path.name, sha256=None, bytes=None, reference=None, weights="random"
    )
