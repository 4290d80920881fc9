"""The paper and the figure that an experiment reproduces, read from the `source` of its configuration."""

import re
from dataclasses import dataclass

OTHERS = "Other replications"
YEAR = re.compile(r"\b(1[89]|20)\d\d\b")
PLACE = re.compile(r"\b(Fig|Table|Sect|Eq|eq)\.?\s*(\d+(?:\.\d+)*)")
ORDER = ("fig", "table", "sect", "eq")


@dataclass(frozen=True)
class Source:
    """`paper` is the first paper with a year in `text`, `place` its figure or section."""

    text: str
    paper: str
    place: str

    @property
    def paper_key(self) -> tuple[bool, str, str]:
        """Sorts papers by year, then name; sources without a paper come last."""
        year = YEAR.search(self.paper)
        return (year is None, year[0] if year else "", self.paper)

    @property
    def place_key(self) -> tuple[int, list[int], str]:
        """Sorts figures before tables before sections, each by number; other places come last."""
        found = PLACE.search(self.place)
        if found is None:
            return (len(ORDER), [], self.text)
        return (ORDER.index(found[1].lower()), [int(part) for part in found[2].split(".")], self.text)


def read_source(text: str) -> Source:
    """Parse `Simonyan et al. 2013, Fig. 1` into paper and place; of several (separated by `;`) the first dated one."""
    dated = [part.strip() for part in text.split(";") if YEAR.search(part)]
    if not dated:
        return Source(text, OTHERS, "")
    end = next(YEAR.finditer(dated[0])).end()
    return Source(text, dated[0][:end].strip(), dated[0][end:].strip(" ,"))
