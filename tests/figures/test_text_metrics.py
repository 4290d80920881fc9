"""Words made to fit."""

from matplotlib.font_manager import FontProperties

from deepinside.figures import text_metrics

TYPE = FontProperties(family="DejaVu Sans", size=8)


def test_words_are_broken_into_lines_that_fit() -> None:
    found = text_metrics.fit("one two three four", text_metrics.width("one two", TYPE) + 0.01, TYPE, 2)
    assert found == "one two\nthree four" or found.startswith("one two\n")
    assert all(
        text_metrics.width(line, TYPE) <= text_metrics.width("one two", TYPE) + 0.01 for line in found.split("\n")
    )


def test_what_does_not_fit_ends_in_an_ellipsis() -> None:
    room = text_metrics.width("Donaudampf…", TYPE)
    assert text_metrics.fit("Donaudampfschifffahrt", room, TYPE, 1) == "Donaudampf…"
    first, second = text_metrics.fit("Donaudampfschifffahrt auf dem grossen Strom", room, TYPE, 2).split("\n")
    assert first == "Donaudampf…"
    assert second.startswith("auf dem")
    assert second.endswith("…")
    assert text_metrics.fit("short", 1.0, TYPE) == "short"
    assert text_metrics.fit("", 1.0, TYPE) == ""


def test_long_names_of_files_are_broken_where_their_parts_meet() -> None:
    room = text_metrics.width("n02099601_golden_", TYPE) + 0.01
    assert text_metrics.fit("(g) n02099601_golden_retriever", room, TYPE) == "(g) n02099601_\ngolden_retriever"
    assert text_metrics.fit("the top-1 class of all", text_metrics.width("the top-1 class", TYPE), TYPE).startswith(
        "the top-1"
    )


def test_a_number_stays_with_its_per_cent_sign() -> None:
    room = text_metrics.width("seen as tabby 26", TYPE)
    assert text_metrics.fit("seen as tabby 26 %", room, TYPE) == "seen as tabby\n26 %"
