"""Imports go one way, room by room, and never in a circle inside a room."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import deepinside

PACKAGE = Path(deepinside.__file__).parent
ORDER = (
    "errors", "types", "config", "console", "networks", "images", "targets", "optimisation", "attribution",
    "segmentation", "metrics", "techniques", "claims", "experiment", "progress", "results", "figures", "pipeline",
    "html_report",
    "sweeps", "api", "cli", "__init__",
)  # fmt: skip
"""Rooms from the bottom up: each imports only those before it."""
RANK = {name: place for place, name in enumerate(ORDER)}
MODULES = sorted(PACKAGE.rglob("*.py"))
PURE = [
    path
    for room in ("optimisation", "attribution", "segmentation", "techniques")
    for path in PACKAGE.glob(f"{room}/*.py")
]
WITH_NUMPY = {"graph_cut", "boxes"}
"""Computations that other libraries do better than torch."""


def module_name(path: Path) -> str:
    """The dotted name below `deepinside`; a package's own name for its `__init__.py`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


NAMES = {module_name(path) for path in MODULES}


def room(path: Path) -> str:
    return module_name(path).split(".")[0]


def imports(path: Path) -> set[str]:
    """Full names of everything a module imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """The project's modules that a module imports, below `deepinside`."""
    found = set()
    for name in imports(path):
        if name.startswith("deepinside."):
            inner = name.removeprefix("deepinside.")
            found.add(inner if inner in NAMES else inner.rpartition(".")[0])
    return found - {""}


def libraries(path: Path) -> set[str]:
    """The third-party libraries that a module imports."""
    return {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"deepinside"}


def called(path: Path) -> set[str]:
    return {
        ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)
    }


def test_every_room_is_listed_and_four_modules_stand_at_the_root() -> None:
    assert {room(path) for path in MODULES} == set(RANK)
    assert len(list(PACKAGE.glob("*.py"))) <= 4


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    later = {name for name in own_imports(path) if RANK[name.split(".")[0]] > RANK[room(path)]}
    assert not later


def test_no_circle_inside_a_room() -> None:
    graph = {module_name(path): own_imports(path) - {module_name(path)} for path in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("path", sorted(PURE), ids=module_name)
def test_techniques_and_their_mathematics_are_pure(path: Path) -> None:
    """torch and the project's own types: no files, no printing, no global randomness, no Hydra."""
    numeric = {"numpy", "scipy", "sklearn", "skimage"} if path.stem in WITH_NUMPY else set()
    assert libraries(path) <= {"torch", "pydantic"} | numeric
    assert not {name.split(".")[0] for name in imports(path)} & {"os", "sys", "pathlib", "io", "random", "logging"}
    assert not called(path) & {"print", "open", "torch.manual_seed", "torch.seed", "torch.save", "torch.load"}


def test_only_configuration_commands_and_sweeps_know_hydra() -> None:
    knowing = {room(path) for path in MODULES if libraries(path) & {"hydra", "omegaconf"}}
    assert knowing <= {"config", "cli", "api", "sweeps"}


def test_the_pipeline_names_no_technique() -> None:
    techniques = {path.stem for path in PACKAGE.glob("techniques/*.py")} - {"__init__"}
    for path in PACKAGE.glob("pipeline/*.py"):
        names = {
            node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)
        }
        assert not {name for name in imports(path) if "techniques" in name}
        assert not techniques & names


def test_the_help_page_needs_neither_torch_nor_hydra_at_import() -> None:
    """`deepinside --help` loads only what `cli.run` imports at its top."""
    top = ast.parse((PACKAGE / "cli" / "run.py").read_text(encoding="utf-8")).body
    modules = {n.module for n in top if isinstance(n, ast.ImportFrom)} | {
        alias.name for n in top if isinstance(n, ast.Import) for alias in n.names
    }
    outside = {name for name in modules if name and name.split(".")[0] not in sys.stdlib_module_names}
    assert {
        name
        for name in outside
        if not name.startswith(("deepinside.config", "deepinside.console", "deepinside.errors"))
    } <= set()
