"""A run's page as one self-contained HTML file: styles, scripts, data and pictures are inside it."""

import json
import mimetypes
import re
from base64 import b64encode
from functools import partial
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deepinside.errors import DeepInsideError
from deepinside.html_report.files import write_atomically
from deepinside.html_report.layout import data_file, run_page
from deepinside.html_report.runs import read_run, stamp_of
from deepinside.html_report.views import script
from deepinside.html_report.write import write_report

STYLE = re.compile(r'<link rel="stylesheet" href="([^"]*)">')
SCRIPT = re.compile(r'<script defer src="([^"]*)"></script>')
PICTURE = re.compile(r'(?<= src=)"([^"]*)"')
LINK = re.compile(r' href="(?!#|https:|data:)[^"]*"')
POLICY = re.compile(r'(?<=http-equiv="Content-Security-Policy" content=)"[^"]*"')
NAVIGATION = re.compile(r'<nav aria-label="Report">.*?</nav>', re.DOTALL)
PREVIEW = re.compile(r'<meta property="og:image"[^>]*>\n?')


def write_single_file(folder: Path) -> Path:
    """Write the page of the run in `folder` (root/experiment/network/name) to `root/experiment-network-name.html`.

    Updates the report first. Returns the path. Raises DeepInsideError if the folder holds no result, or if the file
    cannot be written.
    """
    place = folder.resolve()
    if not stamp_of(place) or len(place.parents) < 3:
        raise DeepInsideError(f"{folder}: expected the folder of a result, with its metrics.json, found none.")
    root = place.parents[2]
    write_report(root)
    run = read_run(root, place.relative_to(root).as_posix(), "")
    if run is None:
        raise DeepInsideError(f"{folder}: expected a metrics.json that can be read.")
    words = inlined(root / run_page(run), root, root / data_file(run))
    target = root / f"{run.folder.replace('/', '-')}.html"
    try:
        write_atomically(target, words.encode("utf-8", "replace"))
    except OSError as error:
        raise DeepInsideError(f"{target}: expected a file that can be written, found {error}.") from error
    return target


def inlined(page: Path, root: Path, data: Path) -> str:
    """The page with everything it loads inside it; links to other pages become plain text."""
    scripts: list[str] = []

    def inline(found: re.Match[str]) -> str:
        path = local(page, found[1])
        words = embedded_data(data, root) if path == data.resolve() else path.read_text(encoding="utf-8")
        scripts.append(words)
        return f"<script>{words}</script>"

    words = NAVIGATION.sub("", PREVIEW.sub("", page.read_text(encoding="utf-8")))
    words = LINK.sub("", STYLE.sub(lambda found: f"<style>{local(page, found[1]).read_text()}</style>", words))
    words = re.sub(r'data-base="[^"]*"', 'data-base=""', words)
    words = PICTURE.sub(partial(embedded, page), SCRIPT.sub(lambda found: f"\0{found[1]}\0", words))
    words = re.sub("\0([^\0]*)\0", inline, words)
    return POLICY.sub(lambda _: f'"{policy(scripts)}"', words)


def policy(scripts: list[str]) -> str:
    """A content security policy that allows these scripts only, and nothing from outside the file."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(words.encode()).digest()).decode()}'" for words in scripts)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}; base-uri 'none'"


def local(page: Path, link: str) -> Path:
    return (page.parent / unquote(unescape(link))).resolve()


def embedded(page: Path, found: re.Match[str]) -> str:
    return f'"{data_address(local(page, found[1]))}"'


def data_address(path: Path) -> str:
    """A picture as a data address."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"


def embedded_data(data: Path, root: Path) -> str:
    """The script with the viewer's data, its pictures as data addresses."""
    start, _, rest = data.read_text(encoding="utf-8").partition("]=")
    found: dict[str, Any] = json.loads(rest.rstrip(";\n"))
    for picture in (picture for item in found["items"] for picture in item["pictures"]):
        for key in ("original", "shown", "levels"):
            keep = picture[key] and key != "shown"  # only the comparison of runs shows the small copies
            picture[key] = data_address(root / unquote(picture[key])) if keep else ""
    found["photographs"] = {path: data_address(root / path) for path in found["photographs"]}
    return f"{start}]={script(found)};"
