"""Reads from PyTorch's exports which module of the original network each node belongs to."""

import ast
from collections.abc import Iterable, Mapping

from onnx import NodeProto

SCOPES = "pkg.torch.onnx.name_scopes"


def blocks(nodes: Iterable[NodeProto], layers: Mapping[str, str]) -> dict[str, str]:
    """The output layer of each module by its dotted name, such as `blocks.3.attn`: the last layer computed inside it.

    `layers` maps values of the graph to names of layers.
    """
    found = {}
    for node in nodes:
        if node.output and node.output[0] in layers:
            found.update(dict.fromkeys(scopes(node), layers[node.output[0]]))
    return found


def scopes(node: NodeProto) -> list[str]:
    """The dotted names of all modules around a node, outermost first; none if the file does not store them."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            return [name for name in ast.literal_eval(entry.value)[:-1] if name]
    return nested(node.name) if node.name.startswith("/") else []


def nested(name: str) -> list[str]:
    """The modules in an older node name: /layer1/layer1.0/conv1/Conv is in layer1, layer1.0 and layer1.0.conv1."""
    found: list[str] = []
    for part in name.strip("/").split("/")[:-1]:
        outer = found[-1] if found else ""
        last = outer.rpartition(".")[2]
        if outer and part.startswith(f"{last}."):
            found.append(outer[: len(outer) - len(last)] + part)
        else:
            found.append(f"{outer}.{part}" if outer else part)
    return found
