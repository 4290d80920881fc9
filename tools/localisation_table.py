"""The localisation table of a run in Markdown: each method and baseline by size of the object, with 95 % intervals.

    python tools/localisation_table.py results/localisation_error/tinycaffenet/default

Columns are the sizes of objects and all photos. Intervals are those of claims: Clopper–Pearson for shares, the
bootstrap over photos otherwise.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from deepinside.metrics.intervals import confidence_interval, mean, share

BOXES = {
    "graph_cut": "GraphCut",
    "threshold": "threshold of the map",
    "whole_image": "whole photo",
    "centre": "centred box",
    "random": "random box",
}
SCORES = {
    "right": "IoU ≥ 0.5, class given",
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
    "box_accuracy": "MaxBoxAccV2",
}
MAPS = {"map": "the map's pieces", "centre_gaussian": "Gaussian at the centre"}
POINTS = {
    "pointing": ("pointing game", "the map's maximum"),
    "pointing_centre": ("pointing game", "the photo's centre"),
    "mass_inside": ("energy pointing game", "the map"),
    "mass_centre": ("energy pointing game", "Gaussian at the centre"),
    "mass_edges": ("energy pointing game", "edges of the photo"),
    "area_inside": ("energy pointing game", "constant map"),
}


def rows() -> Iterator[tuple[str, str, str]]:
    """Measure, method and column of every line of the table."""
    for score, measure in SCORES.items():
        for box, method in (*BOXES.items(), *(MAPS.items() if score == "box_accuracy" else ())):
            yield measure, method, f"{box}/{score}"
    for column, (measure, method) in POINTS.items():
        yield measure, method, column


def cell(values: np.ndarray) -> str:
    """Mean and interval in per cent."""
    values = values[~np.isnan(values)][:, None]
    statistic = share if np.isin(values, (0, 1)).all() else mean
    interval = confidence_interval(values, statistic, seed=0)
    reach = "" if interval is None else f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"
    return f"{100 * float(mean(values)):.1f}{reach}"


def table(folder: Path) -> str:
    """The table of the run in `folder`."""
    found = pq.read_table(folder / "items.parquet").to_pydict()
    groups = np.array([group or "" for group in found["group"]])
    parts = {size: groups == size for size in sorted({*groups} - {""})} | {"all": groups != ""}
    heads = [f"{size} ({those.sum()})" for size, those in parts.items()]
    lines = [["measure, %", "method", *heads], ["---"] * (2 + len(heads))]
    for measure, method, column in rows():
        values = np.array(found[column], dtype=np.float64)
        lines.append([measure, method, *(cell(values[those]) for those in parts.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
