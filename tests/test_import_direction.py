"""The house has one corridor: what stands further down it may import what stands further up, never the other way."""

import ast
import sys
from pathlib import Path

import pytest

import deepinside

PACKAGE = Path(deepinside.__file__).parent
ORDER = (
    ("aside", "errors", "home", "memory", "names", "values", "waiting"),
    ("datafile",),
    ("settings",),
    ("networks",),
    ("images",),
    ("targets",),
    ("maths",),
    ("techniques",),
    ("metrics", "claims"),
    ("experiment",),
    ("store",),
    ("work",),
    ("figures", "progress", "provenance", "results", "report"),
    ("done",),
    ("pipeline", "findings"),
    ("together",),
    ("catalogue",),
    ("quoting",),
    ("complaints",),
    ("compose",),
    ("pages",),
    ("sweeps",),
    ("cli", "reference"),
    ("scripts",),
    ("defaults",),
    ("api",),
    ("__init__",),
)
RANK = {name: place for place, names in enumerate(ORDER) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))
WITH_NUMPY = {"segmentation", "boxes", "similarity"}
"""Mathematics that other libraries know better than torch."""


def part(path: Path) -> str:
    """Which part of the house a module belongs to: its package, or itself."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full names of all a module imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def outside(path: Path) -> set[str]:
    """The libraries a module imports, the standard one left out."""
    return {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"deepinside"}


def called(path: Path) -> set[str]:
    return {
        ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)
    }


def test_every_module_has_its_place() -> None:
    assert {part(path) for path in MODULES} == set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = {name.split(".")[1] for name in imports(path) if name.startswith("deepinside.")}
    later = {name for name in own - {part(path)} if RANK[name] >= RANK[part(path)]}
    assert not later


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("maths/*.py")) + sorted(PACKAGE.glob("techniques/*.py")), ids=str)
def test_techniques_and_mathematics_are_pure(path: Path) -> None:
    """torch and the project's own values: no files, no printing, no global randomness, no Hydra."""
    numeric = {"numpy", "scipy", "sklearn", "skimage"} if path.stem in WITH_NUMPY else set()
    assert outside(path) <= {"torch", "pydantic"} | numeric
    assert not {name.split(".")[0] for name in imports(path)} & {"os", "sys", "pathlib", "io", "random", "logging"}
    assert not called(path) & {"print", "open", "torch.manual_seed", "torch.seed", "torch.save", "torch.load"}


def test_only_the_command_line_knows_hydra() -> None:
    knowing = {part(path) for path in MODULES if outside(path) & {"hydra", "omegaconf"}}
    assert knowing == {"cli", "catalogue", "complaints", "compose", "defaults", "quoting", "sweeps"}


def test_the_pipeline_names_no_technique() -> None:
    source = (PACKAGE / "pipeline.py").read_text(encoding="utf-8")
    techniques = {path.stem for path in PACKAGE.glob("techniques/*.py")} - {"__init__"}
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    assert not {name for name in imports(PACKAGE / "pipeline.py") if "techniques" in name}
    assert not techniques & names


def test_the_help_page_needs_neither_torch_nor_hydra_at_import() -> None:
    """What `cli` imports at its top is all that `deepinside --help` loads."""
    top = ast.parse((PACKAGE / "cli.py").read_text(encoding="utf-8")).body
    modules = {n.module for n in top if isinstance(n, ast.ImportFrom)} | {
        alias.name for n in top if isinstance(n, ast.Import) for alias in n.names
    }
    known = {"deepinside", "deepinside.errors", "deepinside.home"}
    assert {name for name in modules if name and name.split(".")[0] not in sys.stdlib_module_names} <= known
