"""Words made to fit."""

from matplotlib.font_manager import FontProperties

from deepinside.figures import lettering

TYPE = FontProperties(family="DejaVu Sans", size=8)


def test_words_are_broken_into_lines_that_fit() -> None:
    found = lettering.fit("one two three four", lettering.width("one two", TYPE) + 0.01, TYPE, 2)
    assert found == "one two\nthree four" or found.startswith("one two\n")
    assert all(lettering.width(line, TYPE) <= lettering.width("one two", TYPE) + 0.01 for line in found.split("\n"))


def test_what_does_not_fit_ends_in_an_ellipsis() -> None:
    room = lettering.width("Donaudampf…", TYPE)
    assert lettering.fit("Donaudampfschifffahrt", room, TYPE, 1) == "Donaudampf…"
    first, second = lettering.fit("Donaudampfschifffahrt auf dem grossen Strom", room, TYPE, 2).split("\n")
    assert first == "Donaudampf…"
    assert second.startswith("auf dem")
    assert second.endswith("…")
    assert lettering.fit("short", 1.0, TYPE) == "short"
    assert lettering.fit("", 1.0, TYPE) == ""


def test_long_names_of_files_are_broken_where_their_parts_meet() -> None:
    room = lettering.width("n02099601_golden_", TYPE) + 0.01
    assert lettering.fit("(g) n02099601_golden_retriever", room, TYPE) == "(g) n02099601_\ngolden_retriever"
    assert lettering.fit("the top-1 class of all", lettering.width("the top-1 class", TYPE), TYPE).startswith(
        "the top-1"
    )
