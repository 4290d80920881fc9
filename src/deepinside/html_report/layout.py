"""The paths of the pages, and the Jinja environment of their templates."""

import os
import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepinside.config import catalogue
from deepinside.console.claims import because, count_text, estimate_text, expected_text
from deepinside.html_report.runs import Run, Sweep, plain
from deepinside.networks.cache import cache_folder

if TYPE_CHECKING:
    from jinja2 import BytecodeCache, Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
REPORT = "report"
OVERVIEWS = {"index.html", f"{REPORT}/runs.html", f"{REPORT}/class-models.html"}


def run_page(run: Run) -> str:
    return f"{REPORT}/runs/{run.slug}.html"


def data_file(run: Run) -> str:
    return f"{REPORT}/data/{run.slug}.js"


def pictures_of(run: Run) -> str:
    return f"{REPORT}/pictures/{run.slug}"


def sweep_page(sweep: Sweep) -> str:
    return f"{REPORT}/sweeps/{sweep.slug}.html"


def experiment_page(folder: str) -> str:
    return f"{REPORT}/experiments/{folder.partition('/')[0]}.html"


@cache
def report_version() -> str:
    """A digest of the report's source files, which changes whenever the pages would change."""
    digest = sha256()
    sources = [path for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    for path in [*sorted(sources), HERE.parent / "figures" / "maps.py"]:  # its maps are in the pages
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def environment() -> "Environment":
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader

    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=ChainableUndefined,  # a missing entry of a result is left out of its page
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=bytecode_cache(),
    )
    found.filters |= {"number": number, "plain": plain, "readable": readable, "metric": metric, "code": code}
    found.filters |= {"estimate": estimate_text, "expected": expected_text, "count_text": count_text}
    found.globals |= {"run_page": run_page, "sweep_page": sweep_page, "data_file": data_file, "facets": facets}
    found.globals |= {"experiment_page": experiment_page, "because": because}
    return found


def bytecode_cache() -> "BytecodeCache | None":
    """The cache of compiled templates, which saves 0.25 s; None if its folder cannot be written.

    Code is loaded from it, so it is in the user's cache folder, never in a results folder, which may come from others.
    """
    from jinja2 import FileSystemBytecodeCache

    folder = cache_folder() / "templates"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return FileSystemBytecodeCache(str(folder)) if os.access(folder, os.W_OK) else None


def number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else plain(value)


def facets(row: Mapping[str, Any], axes: Mapping[str, Any]) -> dict[str, str]:
    """The values of a row of a sweep's table for its filters."""
    values = row.get("overrides") or {}
    return {"Status": str(row.get("status")), **{key: plain(values.get(key)) for key in axes}}


@cache
def definitions() -> dict[str, str]:
    """The definition of every metric, without Markdown; `docs/glossary.md` shows the same."""
    rows = catalogue.read(HERE / "metrics.yaml")
    return {name: row["definition"].replace("`", "") for name, row in rows.items()}


def metric(name: str) -> "Markup":
    """The name of a metric as words, with its definition as a tooltip."""
    from markupsafe import Markup

    last = name.rpartition("/")[2]
    said = definitions().get("rank_correlation/A~B" if "~" in last else last)
    words = readable(name)
    return Markup('<abbr title="{}">{}</abbr>').format(said, words) if said else Markup("{}").format(words)


def code(text: str) -> "Markup":
    """HTML of a text, with words between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def readable(name: str) -> str:
    """The name of a metric or a panel as words."""
    return name.replace("/", ": ").replace("_", " ")
