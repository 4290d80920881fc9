"""What `make site` does beyond Markdown: formulas as MathML, the notebook as a page, links to files of the repository.

MkDocs calls the functions named `on_...` while it builds the pages. Nothing is fetched: browsers draw MathML without a
script, and files outside `docs/` that a page links to are copied into the site under `files/`.
"""

import html
import json
import posixpath
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SHIM = "https://unpkg.com/iframe-worker/shim"
FETCHED = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="?(https?://[^" >]+)')
OUTSIDE = re.compile(r"\]\(\.\./([^)\s#]+)\)")
DISPLAYED = re.compile(r"^( *)```math\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<![\w$\\])\$([^$\n]+(?:\n[^$\n]+)?)\$(?![\w$])")
CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside `docs/` that pages link to, and the notebook as a page."""
    notebook = files.get_file_from_path("tour.ipynb")
    if notebook is not None:
        files.remove(notebook)
        files.append(File.generated(config, "tour.md", content=notebook_text(json.loads(notebook.content_string))))
    for name in sorted(linked(files)):
        files.append(File.generated(config, site_name(name), abs_src_path=str(ROOT / name)))
    return files


def linked(files: Files) -> set[str]:
    """Paths relative to the repository of what pages link to outside `docs/`."""
    return {plain(path) for file in files.documentation_pages() for path in OUTSIDE.findall(file.content_string)}


def site_name(path: str) -> str:
    """Where a file of the repository is in the site; Markdown is text there, since its links would be wrong."""
    return f"files/{path}.txt" if path.endswith(".md") else f"files/{path}"


def plain(path: str) -> str:
    """The file that stands for a path: for a folder its `__init__.py`."""
    return f"{path.rstrip('/')}/__init__.py" if (ROOT / path).is_dir() else path


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The notebook in the navigation is the page made of it."""
    config.nav = json.loads(json.dumps(config.nav).replace("tour.ipynb", "tour.md"))
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    markdown = OUTSIDE.sub(lambda found: f"]({site_name(plain(found[1]))})", markdown)
    return formulas(markdown).replace("](tour.ipynb", "](tour.md")


# ---- formulas --------------------------------------------------------------------------------------------------------


def formulas(markdown: str) -> str:
    """Blocks of ```math and `$…$` outside code as MathML."""
    shown = DISPLAYED.sub(lambda found: f"{found[1]}{mathml(found[2], 'block')}", markdown)
    return outside_code(shown, lambda text: INLINE.sub(lambda found: mathml(found[1], "inline"), text))


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    parts = CODE.split(markdown)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def mathml(latex: str, display: str) -> str:
    return convert(" ".join(latex.split()), display=display)


# ---- the notebook ----------------------------------------------------------------------------------------------------


def notebook_text(notebook: dict[str, Any]) -> str:
    """A notebook's cells and outputs as Markdown."""
    return "\n\n".join(part for cell in notebook["cells"] for part in cell_text(cell)) + "\n"


def cell_text(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        yield output_text(output)


def output_text(output: dict[str, Any]) -> str:
    """HTML where the output has it, else its text."""
    data = output.get("data", {})
    if "text/html" in data:
        return "<div>" + re.sub(r"\s*\n\s*", " ", "".join(data["text/html"])) + "</div>"
    return f"<pre>{html.escape(''.join(data.get('text/plain', output.get('text', ''))))}</pre>"


# ---- nothing is fetched ----------------------------------------------------------------------------------------------


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The shim with which search works from disk is taken from the site instead of a server."""
    return output.replace(SHIM, posixpath.relpath("assets/iframe-worker.js", posixpath.dirname(page.url) or "."))


def on_post_build(config: MkDocsConfig) -> None:
    """Add the shim; refuse a site that would fetch anything."""
    shutil.copy(ROOT / "tools" / "site" / "iframe-worker.js", Path(config.site_dir) / "assets")
    for path in sorted(Path(config.site_dir).glob("*.html")):
        found = FETCHED.search(path.read_text(encoding="utf-8"))
        if found and path.name != "404.html":
            raise PluginError(f"{path.name} would fetch {found[1]}: the site has to work offline")
