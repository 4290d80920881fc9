"""The tools for localisation: the choice of photos, of thresholds, and the table."""

from pathlib import Path

import localisation_levels
import localisation_settings
import localisation_table
import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
from PIL import Image

from deepinside.images.annotations import Annotation
from deepinside.images.sources import Source
from deepinside.segmentation import boxes as scoring
from deepinside.techniques.localisation import Localisation


def sources(names: list[str]) -> list[Source]:
    return [Source(Path(name), name, name, name[0], Annotation(((0, 0, 1, 1),), (name[0],))) for name in names]


def test_the_choice_of_photos_depends_on_their_names_alone() -> None:
    names = [f"{label}{number}" for label in "ab" for number in range(40)]
    first = localisation_levels.chosen(sources(names))
    assert len(first) == 2 * localisation_levels.PER_CLASS
    assert {one.name for one in localisation_levels.chosen(sources(names[::-1]))} == {one.name for one in first}


def test_accuracy_at_the_chosen_levels_and_cross_validated() -> None:
    table = np.zeros((10, len(scoring.LEVELS)))
    table[:, 3] = 0.6
    levels = scoring.best_levels(table)
    assert localisation_levels.accuracy(table, levels) == pytest.approx(2 / 3)
    assert localisation_levels.cross_validated(table) == pytest.approx(2 / 3)


def test_the_table_has_means_and_intervals_by_size(tmp_path: Path) -> None:
    columns = {column: [1.0, 0.0] * 10 for _, _, column in localisation_table.rows()}
    groups = ["object 0–25 %"] * 10 + ["object 25–50 %"] * 8 + [None] * 2
    pq.write_table(pyarrow.table({"group": groups, **columns}), tmp_path / "items.parquet")
    head, _, first, *_ = localisation_table.table(tmp_path).splitlines()
    assert "object 0–25 % (10)" in head and "all (18)" in head
    assert first.startswith("| IoU ≥ 0.5, class given | GraphCut | 50.0 (18.7–81.3) |")  # Clopper–Pearson, 5 of 10


def test_the_grid_starts_with_the_default_and_has_every_combination_once() -> None:
    default = Localisation()
    found = localisation_settings.settings_of(default)
    assert found[0] == default and len(found) == len(set(found)) == 2**5
    assert all((one.foreground_seeds is None) == (one.background_seeds is None) for one in found)
    assert localisation_settings.settings_of(Localisation(components=3, smoothness=20.0))[0].smoothness == 20


def test_a_search_that_finds_nothing_is_the_default_and_a_better_setting_is_found() -> None:
    """Setting 1 is right for every photo, the default for large objects; setting 2 for the photos of one fold."""
    small, large = localisation_settings.scoring.SIZES[0], localisation_settings.scoring.SIZES[2]
    sizes = np.array([small, large] * 10)
    right = np.zeros((20, 3))
    right[:, 0] = sizes == large
    equal = localisation_settings.Answers(right.copy(), sizes)
    assert localisation_settings.cross_validated(equal).tolist() == right[:, 0].tolist()
    right[:, 1] = 1
    right[::5, 2] = 1
    known = localisation_settings.Answers(right, sizes)
    assert localisation_settings.cross_validated(known).all()
    text = localisation_settings.table(known, [Localisation(), Localisation(smoothness=50.0), Localisation()])
    assert "best on these photos: `technique.smoothness=50.0`" in text
    assert "| searched minus default | 100.0 (69.2–100.0) | 0.0 (0.0–30.8) |" in text


def test_settings_are_searched_on_marked_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = []
    for number in range(2):
        levels = np.random.default_rng(number).integers(0, 60, (64, 64, 3), dtype=np.uint8)
        levels[16:40, 20:50] += 150
        Image.fromarray(levels).save(tmp_path / f"{number}.png")
        boxes.append(f"{number}.png\tn02123045\t20\t16\t49\t39")
    (tmp_path / "boxes.txt").write_text("\n".join(boxes), encoding="utf-8")
    words = ["images=none", f"images.root={tmp_path}", f"images.annotations={tmp_path / 'boxes.txt'}"]
    localisation_settings.main(["--per-class", "2", *words])
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("| right boxes, % | object 0–25 % (2) | all (2) |") and len(told) == 6
