"""From a torch module to a verified network, by exporting it to ONNX."""

import copy
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import onnx
import torch
from onnx import ModelProto
from torch import nn

from deepinside.errors import DeepInsideError
from deepinside.networks.draft import target_of
from deepinside.networks.load import verified
from deepinside.networks.network import Network
from deepinside.networks.onnx.graph import prepare_graph
from deepinside.networks.spec import InputConvention, Label, NetworkSpec

OPSET = 17
INSTALL = "install what torch.onnx.export needs: pip install 'deepinside[export]'"


def from_module(module: nn.Module, convention: InputConvention, labels: Sequence[str] | str | None = None) -> Network:
    """The verified network of a module from images (N, C, H, W) to class scores; the module is not changed.

    `labels` are the classes' names in order, or the stem of a file in conf_models/labels/. Nothing is written.
    Raises DeepInsideError if torch cannot export the module, or the export computes something else.
    """
    model = exported(module, convention)
    name = type(module).__name__
    spec = NetworkSpec(
        name=name, title=name, file=f"the module {name}", target="", input=convention, weights="random",
        output=None, labels=labels if isinstance(labels, str) else None,
    )  # fmt: skip
    spec = replace(spec, target=target_of(prepare_graph(model, spec))[0].name)
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    network = verified(model, spec, sha256=digest, files=digest)
    return network if labels is None or isinstance(labels, str) else labelled(network, labels)


def labelled(network: Network, names: Sequence[str]) -> Network:
    """The network with these class names."""
    if len(names) != network.classes:
        raise DeepInsideError(f"labels: expected {network.classes} names, one a class score, found {len(names)}.")
    return replace(network, labels=tuple(Label(index, "", str(name)) for index, name in enumerate(names)))


def exported(module: nn.Module, convention: InputConvention) -> ModelProto:
    """The module as an ONNX model, by PyTorch's older exporter, which is faster, or else by the newer one."""
    still = module if not any(part.training for part in module.modules()) else copy.deepcopy(module).eval()
    like = next(iter([*module.parameters(), *module.buffers()]), torch.empty(0))
    image = torch.zeros(1, convention.count, *convention.size, device=like.device, dtype=torch.float32)
    try:
        with quietly():
            return by_tracing(still, image)
    except Exception as first:
        try:
            with quietly():
                program = torch.onnx.export(still, (image,), dynamo=True, input_names=["image"])
                return program.model_proto  # type: ignore[union-attr]
        except ImportError:
            raise DeepInsideError(f"{type(module).__name__} is not exported ({_words(first)}): {INSTALL}") from None
        except Exception:
            raise DeepInsideError(
                f"{type(module).__name__} should take images {list(image.shape)} and be exported by torch.onnx.export, "
                f"which stops: {_words(first)}"
            ) from None


def by_tracing(module: nn.Module, image: torch.Tensor) -> ModelProto:
    stream = io.BytesIO()
    torch.onnx.export(module, (image,), stream, dynamo=False, opset_version=OPSET, input_names=["image"])  # type: ignore[arg-type]
    return onnx.load_from_string(stream.getvalue())


@contextmanager
def quietly() -> Iterator[None]:
    """Silences the exporters' output and turns off the attention kernels that they do not support."""
    fast, disabled = torch.backends.mha.get_fastpath_enabled(), logging.root.manager.disable
    torch.backends.mha.set_fastpath_enabled(False)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        logging.disable(disabled)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
