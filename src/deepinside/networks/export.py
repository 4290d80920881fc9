"""Exports a torch module to ONNX in memory."""

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from unittest import mock

import onnx
import torch
from onnx import ModelProto
from torch import nn

from deepinside.errors import DeepInsideError
from deepinside.networks.spec import InputConvention

OPSET = 17
INSTALL = "install what torch.onnx.export needs: pip install 'deepinside[export]'"


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
        # torch prints a failed graph although nothing was asked to be verbose
        logged = mock.patch.object(torch._C, "_jit_onnx_log", lambda *_: None)
        with warnings.catch_warnings(), torch.no_grad(), redirect_stdout(io.StringIO()), logged:
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        logging.disable(disabled)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
