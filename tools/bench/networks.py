"""The networks that are measured: as deepinside loads them, and plainly converted as its peers' users would.

CaffeNet and VGG-16 are full-size twins, the zoo's graphs with seeded random weights: speed does not depend on what a
network has learnt. `tinycaffenet` is the trained one that ships with the program.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor, nn
from twins import TWINS, write_twin

from bench import photos
from deepinside.attribution.relu_rules import ReluRule, with_rule
from deepinside.networks.load import assemble
from deepinside.networks.network import Network
from deepinside.networks.onnx.convert import convert
from deepinside.networks.onnx.graph import PreparedGraph, prepare_graph, read
from deepinside.networks.spec import NetworkSpec, find_spec


@dataclass(frozen=True)
class Bench:
    """One network in all the forms that are measured; each is made when it is first asked for."""

    spec: NetworkSpec

    @cached_property
    def prepared(self) -> PreparedGraph:
        """The graph without its soft-max and for any batch, before anything is made faster."""
        return prepare_graph(read(self.spec.local_file), self.spec)

    @cached_property
    def network(self) -> Network:
        """deepinside's own."""
        return assemble(self.prepared, self.spec)

    @cached_property
    def plain(self) -> nn.Module:
        """What onnx2torch makes of the graph, and nothing more: what the peers' users have in hand."""
        return convert(self.prepared).requires_grad_(True)

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


KNOWN: dict[str, Bench] = {}


def network(name: str) -> Bench:
    """The network of that name, its twin written under `build/` if it has none yet; one at a time is kept."""
    if name not in KNOWN:
        KNOWN.clear()
        KNOWN[name] = Bench(find_spec(name) if name == "tinycaffenet" else twin_spec(name))
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
