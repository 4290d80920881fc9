"""Embeds fonts in an SVG: its text stays text and looks the same where the font is not installed."""

import base64
import html
import re
from io import BytesIO
from pathlib import Path

from matplotlib.font_manager import FontProperties, findfont

TEXT = re.compile(r"<(?:text|tspan)([^>]*)>([^<]*)<")
FAMILIES = re.compile(r"font-family: ([^;\"]+)")


def embed_fonts(path: Path) -> None:
    """Embed the letters used by an SVG of matplotlib, from every installed font that it names."""
    svg = path.read_text(encoding="utf-8")
    found = [(html.unescape(style), html.unescape(words)) for style, words in TEXT.findall(svg)]
    letters = "".join(sorted({letter for _, words in found for letter in words if letter.isprintable()}))
    faces = {
        (family.strip(" '"), "bold" if "font-weight: 700" in style else "normal")
        for style, _ in found
        for families in FAMILIES.findall(style)
        for family in families.split(",")
    }
    style = "".join(face(family, weight, letters) for family, weight in sorted(faces))
    first = svg.index("<defs>")
    path.write_text(f"{svg[:first]}<defs><style>{style}</style></defs>{svg[first:]}", encoding="utf-8")


def face(family: str, weight: str, letters: str) -> str:
    """The @font-face rule with a font's `letters`; empty if the font is not installed or has none of them."""
    try:
        found = findfont(FontProperties(family=[family], weight=weight), fallback_to_default=False)
    except ValueError:
        return ""
    data = base64.b64encode(subset(Path(found), letters)).decode()
    where = f"font-family:'{family}';font-weight:{weight};src:url(data:font/ttf;base64,{data})"
    return f"@font-face{{{where}}}"


def subset(path: Path, letters: str) -> bytes:
    """A font file with only these letters. The same letters give the same bytes."""
    from fontTools import subset as fonttools  # 0.1 s to import, and only SVG needs it

    options = fonttools.Options(recalc_timestamp=False, hinting=False, notdef_outline=True, layout_features=[])
    options.drop_tables += ["FFTM", "GDEF", "GPOS", "GSUB", "kern"]
    subsetter, buffer = fonttools.Subsetter(options), BytesIO()
    with fonttools.load_font(str(path), options) as font:
        subsetter.populate(text=letters)
        subsetter.subset(font)
        font.save(buffer)
    return buffer.getvalue()
