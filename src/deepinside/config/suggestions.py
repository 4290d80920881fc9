"""Suggestions for unknown names."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, count: int = 3, cutoff: float = 0.6) -> list[str]:
    """Up to `count` known names, most similar first, ignoring case. `cutoff` runs from 0 (any) to 1 (equal)."""
    spelt: dict[str, list[str]] = {}
    for one in known:
        spelt.setdefault(one.casefold(), []).append(one)
    near = difflib.get_close_matches(name.casefold(), list(spelt), n=count, cutoff=cutoff)
    return [one for folded in near for one in spelt[folded]][:count]


def hint(name: str, known: Iterable[str]) -> str:
    """A sentence for the end of an error message, with a leading space; empty without a similar name."""
    near = nearest(name, known, count=1)
    return f" Did you mean {near[0]}?" if near else ""
