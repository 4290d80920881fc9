"""A self-contained page of what differs between results, with their pictures side by side."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from deepinside.errors import DeepInsideError
from deepinside.html_report.files import write_atomically
from deepinside.html_report.layout import HERE, environment
from deepinside.html_report.pictures import panels
from deepinside.results.comparison import Result, Section, labels

SIDE = 384
"""Larger pictures are shrunk to this many pixels on the longer side."""
MOST_ITEMS = 24
MOST_ROWS = 400
"""Rows per table; the terminal command shows all."""
STYLES = ("pico.min.css", "report.css")


@dataclass(frozen=True)
class PictureRow:
    """A panel of an item in every result, as data addresses; empty where a result has none. `same`: equal in all."""

    item: str
    panel: str
    addresses: tuple[str, ...]

    @property
    def same(self) -> bool:
        return len(set(self.addresses)) == 1


def write_comparison(found: Sequence[Result], sections: Sequence[Section], path: Path) -> None:
    """Write the page. Raises DeepInsideError if the file cannot be written."""
    rows = list(picture_rows(found))
    words = environment().get_template("comparison.html").render(
        results=list(zip(labels(found), found, strict=True)), sections=sections, most=MOST_ROWS,
        styles="\n".join((HERE / "assets" / name).read_text(encoding="utf-8") for name in STYLES),
        pictures=by_item(rows), left=max(0, len(names(found)) - MOST_ITEMS),
    )  # fmt: skip
    try:
        write_atomically(path, words.encode("utf-8", "replace"))
    except OSError as error:
        raise DeepInsideError(f"--html: expected a file that can be written, found {error}.") from error


def names(found: Sequence[Result]) -> list[str]:
    """The items shown in any of the figures."""
    return list(dict.fromkeys(name for one in found for name in one.metrics.get("items") or {}))


def picture_rows(found: Sequence[Result]) -> Iterator[PictureRow]:
    """Every panel of the first items; the figures if no result has saved panels."""
    chosen = set(names(found)[:MOST_ITEMS])
    saved = [panels(one.folder, chosen) for one in found]
    keys = dict.fromkeys(key for one in saved for key in one)
    for key in sorted(keys, key=lambda key: names(found).index(key[0])):
        yield PictureRow(*key, tuple(address(one[key]) if key in one else "" for one in saved))
    if not keys:
        yield PictureRow("figure", "figure", tuple(address(one.folder / "figure.png") for one in found))


def by_item(rows: Sequence[PictureRow]) -> dict[str, list[PictureRow]]:
    found: dict[str, list[PictureRow]] = {}
    for row in rows:
        found.setdefault(row.item, []).append(row)
    return found


def address(path: Path) -> str:
    """A picture as a data address, shrunk if large; empty if it is missing or damaged."""
    from PIL import Image

    try:
        data = path.read_bytes()
        with Image.open(BytesIO(data)) as image:
            image.load()
            if max(image.size) > SIDE:
                image.thumbnail((SIDE, SIDE))
                buffer = BytesIO()
                image.save(buffer, "PNG")
                data = buffer.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    return f"data:image/png;base64,{b64encode(data).decode()}"
