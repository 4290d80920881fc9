"""Converters of our own, against the tests that come with onnx: a model of one node, its inputs and its outputs."""

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, helper, numpy_helper
from onnx.backend.test.case import node as node_tests

from deepinside.networks.onnx import plain
from deepinside.networks.onnx.convert import _onnx2torch

_onnx2torch()  # with a stand-in for a torchvision that does not fit the torch beside it
from deepinside.networks.onnx import operators  # noqa: E402

REDUCTIONS = ("reducel1 reducel2 reducemax reducemean reducemin reduceprod reducesum "
              "reducesumsquare")  # fmt: skip
OTHERS = """acos acosh asin asinh atan atanh clip cos cosh elu equal
expand gelu globalaveragepool globalmaxpool greater_or_equal groupnormalization hardsigmoid hardswish identity
instance_normalization less_or_equal lpnormalization matmul meanvariancenormalization mish pad
reshape rmsnormalization round selu shrink sin sinh slice softplus softsign split squeeze
swish tan thresholdedrelu transpose unsqueeze upsample"""
MODULES = [*REDUCTIONS.split(), *OTHERS.split()]
PARTLY = {"reshape", "upsample"}
"""Operators of which some ways are refused: never computed wrongly."""
KINDS = {np.dtype(kind) for kind in ("float32", "float64", "int64", "int32", "uint8", "int8", "bool")}


def cases(module: str) -> list[Any]:
    before = len(node_tests._NodeTestCases)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    KNOWN.setdefault(module, node_tests._NodeTestCases[before:])
    return [case for case in KNOWN[module] if usual(case)]


KNOWN: dict[str, list[Any]] = {}


def usual(case: Any) -> bool:
    """One node, written as itself, with the kinds of numbers a classifier has."""
    arrays = [value for data in case.data_sets for values in data for value in values]
    plain_kinds = all(isinstance(value, np.ndarray) and value.dtype in KINDS for value in arrays)
    newest = max(entry.version for entry in case.model.opset_import)
    odd = "bool" in case.name or "empty" in case.name
    return plain_kinds and not odd and len(case.model.graph.node) == 1 and newest <= operators.NEWEST


def converted(model: ModelProto, given: list[np.ndarray], free: int) -> torch.nn.Module:
    """The node in torch, all inputs but the first `free` being weights of the file, as they are in classifiers."""
    whole = ModelProto()
    whole.CopyFrom(model)
    for value, array in list(zip(model.graph.input, given, strict=True))[free:]:
        whole.graph.initializer.append(numpy_helper.from_array(array, value.name))
    del whole.graph.input[free:]
    whole = plain.with_inlined_functions(whole, whole)
    plain.without_empty_ends(whole.graph)
    return _onnx2torch().convert(whole).eval()


@pytest.mark.parametrize("module", MODULES)
def test_nodes_compute_what_onnx_says(module: str) -> None:
    agreed = 0
    for case in cases(module):
        given, wanted = case.data_sets[0]
        free = 2 if module in ("equal", "greater_or_equal", "less_or_equal") else 1
        try:
            found = converted(case.model, given, free)(*(torch.from_numpy(image.copy()) for image in given[:free]))
        except NotImplementedError:
            assert module in PARTLY, case.name
            continue
        for value, expected in zip(found if isinstance(found, tuple) else (found,), wanted, strict=False):
            exact = torch.from_numpy(np.array(expected))
            assert value.shape == exact.shape, case.name
            near = torch.allclose(value.double(), exact.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
            assert near, (case.name, value, exact)
        agreed += 1
    assert agreed, f"nothing of {module} was compared"


def test_newer_versions_are_known_of_every_operator_that_is() -> None:
    """What exporters write today is at most `NEWEST`; an operator known in an older version is known in that one."""
    assert all(operators.known(kind, operators.versions(kind)[-1]) for kind in operators.UNCHANGED)


def test_the_largest_of_equal_values_passes_the_gradient_once() -> None:
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    operators.GlobalMaxPool()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1, 0, 0, 0]


def test_rounding_passes_the_gradient_as_if_there_were_none() -> None:
    x = torch.tensor([-9.0, 0.24, 0.26, 9.0], requires_grad=True)
    scale, zero = torch.tensor(0.5), torch.tensor(0, dtype=torch.int8)
    found = operators.Dequantise(scale, zero, 1)(operators.Quantise(scale, zero, 1)(x))
    assert found.tolist() == [-9.0, 0.0, 0.5, 9.0]
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1, 1, 1]


def test_a_matrix_of_the_file_becomes_a_layer() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "one", [value("x", 1, [4, 2])], [value("y", 1, [4, 3])],
        [numpy_helper.from_array(matrix, "w")],
    )  # fmt: skip
    module = _onnx2torch().convert(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
    assert torch.nn.Linear in [type(part) for part in module.modules()]
    x = torch.randn(4, 2)
    assert torch.allclose(module(x), x @ torch.from_numpy(matrix))
