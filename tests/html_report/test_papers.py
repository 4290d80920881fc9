import pytest

from deepinside.html_report.papers import OTHERS, read_source


@pytest.mark.parametrize(
    ("text", "paper", "place"),
    [
        ("Simonyan et al. 2013, Fig. 1", "Simonyan et al. 2013", "Fig. 1"),
        ("Keras replication; Simonyan et al. 2013, Sect. 3.1", "Simonyan et al. 2013", "Sect. 3.1"),
        ("Mahendran & Vedaldi 2016 (IJCV), on VGG-16", "Mahendran & Vedaldi 2016", "(IJCV), on VGG-16"),
        ("Caffe class project, class 281", OTHERS, ""),
        ("", OTHERS, ""),
    ],
)
def test_a_source_names_the_paper_and_the_place_in_it(text: str, paper: str, place: str) -> None:
    found = read_source(text)
    assert (found.paper, found.place) == (paper, place)


def test_figures_come_before_sections_and_by_number() -> None:
    places = ["Sect. 3.2", "Fig. 10", "Sect. 2", "Fig. 2", "nowhere", "Table 1"]
    ordered = sorted((read_source(f"A 2013, {place}") for place in places), key=lambda source: source.place_key)
    assert [one.place for one in ordered] == ["Fig. 2", "Fig. 10", "Table 1", "Sect. 2", "Sect. 3.2", "nowhere"]


def test_papers_come_by_year_and_what_is_none_last() -> None:
    names = ["some blog", "B 2018, Fig. 1", "A 2018, Fig. 1", "Z 2013, Fig. 1"]
    ordered = sorted(map(read_source, names), key=lambda source: source.paper_key)
    assert [one.paper for one in ordered] == ["Z 2013", "A 2018", "B 2018", OTHERS]
