"""The tools for localisation: the choice of photos, of thresholds, and the table."""

from pathlib import Path

import localisation_levels
import localisation_table
import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest

from deepinside.images.annotations import Annotation
from deepinside.images.sources import Source
from deepinside.segmentation import boxes as scoring


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
