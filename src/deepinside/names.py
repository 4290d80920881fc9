"""The nearest of the names that are known to one that is not, for every refusal that lists names."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, count: int = 3, cutoff: float = 0.6) -> list[str]:
    """Up to `count` of the `known` names, most alike first, whatever their case; `cutoff` is 0 (any) to 1 (equal)."""
    spelt: dict[str, list[str]] = {}
    for one in known:
        spelt.setdefault(one.casefold(), []).append(one)
    near = difflib.get_close_matches(name.casefold(), list(spelt), n=count, cutoff=cutoff)
    return [one for folded in near for one in spelt[folded]][:count]


def hint(name: str, known: Iterable[str]) -> str:
    """A sentence to end a refusal with, a space before it; empty where nothing is alike."""
    near = nearest(name, known, count=1)
    return f" Did you mean {near[0]}?" if near else ""
