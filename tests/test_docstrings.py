"""What other modules may call says what it is, in what shape, and from where."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import deepinside

PACKAGE = Path(deepinside.__file__).parent
SHAPE = re.compile(r"\([^()]*,[^()]*\)|\bshape\b")
"""What stands for a shape in a docstring: (N, C, H, W), (steps,), or that it is another's."""
SOURCE = re.compile(r"\b(19|20)\d\d\b|Caffe")
FOLDERS = ("maths", "techniques", "metrics", "networks", "images")
MODULES = [path for folder in FOLDERS for path in sorted((PACKAGE / folder).rglob("*.py")) if path.stem != "__init__"]
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def words(path: Path) -> frozenset[str]:
    """Every name a module imports, and every `module.name` it writes."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
    return frozenset(found)


def called_from_outside(path: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """The module's own functions and classes that another module of the package uses: what it offers."""
    others = frozenset().union(*(words(other) for other in PACKAGE.rglob("*.py") if other != path))
    own = [node for node in tree(path).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [node for node in own if {node.name, f"{path.stem}.{node.name}"} & others and not node.name.startswith("_")]


@pytest.mark.parametrize("name", NAMES)
def test_what_others_use_is_described(name: str) -> None:
    assert ast.get_docstring(tree(PACKAGE / name))
    missing = [node.name for node in called_from_outside(PACKAGE / name) if not ast.get_docstring(node)]
    assert not missing


@pytest.mark.parametrize("name", NAMES)
def test_tensors_that_others_get_have_their_shape_said(name: str) -> None:
    functions = [node for node in called_from_outside(PACKAGE / name) if isinstance(node, ast.FunctionDef)]
    tensors = [f for f in functions if f.returns is not None and "Tensor" in ast.unparse(f.returns)]
    missing = [f.name for f in tensors if not SHAPE.search(ast.get_docstring(f) or "")]
    assert not missing


@pytest.mark.parametrize("path", sorted((PACKAGE / "techniques").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_every_technique_names_its_source_and_what_it_returns(path: Path) -> None:
    assert SOURCE.search(ast.get_docstring(tree(path)) or "")
    (settings,) = [node for node in tree(path).body if isinstance(node, ast.ClassDef) and is_technique(node)]
    call = next(node for node in settings.body if isinstance(node, ast.FunctionDef) and node.name == "__call__")
    assert ast.get_docstring(settings)
    assert "item" in (ast.get_docstring(call) or "")


def is_technique(node: ast.ClassDef) -> bool:
    """Whether it can be called with a network, photos and seeds."""
    calls = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__call__"]
    return any([argument.arg for argument in call.args.args] == ["self", "network", "batch", "seeds"] for call in calls)
