"""Photographs as they were taken, next to what the network sees of them."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from disk import put_run
from PIL import Image

from deepinside.html_report.photographs import FOLDER, SIDE, photographs

WIDE = (1600, 800)


def put_photo(path: Path, size: tuple[int, int] = WIDE) -> Image.Image:
    """A photo whose colours tell where a pixel is."""
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    photo = Image.fromarray(np.stack([across, down, 128 + 0 * down], 2).astype(np.uint8))
    path.parent.mkdir(exist_ok=True)
    photo.save(path)
    return photo


def put_seen(folder: Path, resize: str = "short_side_crop", **images: Any) -> dict[str, Path]:
    """A run that saved the picture that a network of 16×16 pixels sees of the photo `cat`."""
    photo = put_photo(folder / "photos" / "cat.png")
    settings = {"root": str(folder / "photos"), "resize": resize, **images}
    network = {"name": "net", "input": {"size": [16, 16]}}
    place = put_run(folder, items=["cat"], settings={"images": settings, "network": network})
    digest = sha256((folder / "photos" / "cat.png").read_bytes()).hexdigest()
    (place / "provenance.json").write_text(json.dumps({"images": {"cat": digest}}))
    seen = place / "panels" / "photo" / "cat.png"
    photo.resize((16, 16), box=(400, 0, 1200, 800) if resize == "short_side_crop" else None).save(seen)
    return {"cat": seen}


@pytest.mark.parametrize(
    ("resize", "view"), [("short_side_crop", (0.25, 0.0, 0.75, 1.0)), ("square", (0.0, 0.0, 1.0, 1.0))]
)
def test_a_photo_is_scaled_and_the_part_that_is_seen_is_known(
    tmp_path: Path, resize: str, view: tuple[float, ...]
) -> None:
    found = photographs(tmp_path, "fig2/net/default", put_seen(tmp_path, resize))["cat"]
    assert (found.width, found.height) == (SIDE, SIDE // 2)
    assert found.view == pytest.approx(view)
    with Image.open(tmp_path / found.path) as copy:
        assert copy.format == "JPEG" and copy.size == (SIDE, SIDE // 2)


def test_a_copy_is_made_once_for_all_runs_and_outlives_the_photo(tmp_path: Path) -> None:
    seen = put_seen(tmp_path)
    first = photographs(tmp_path, "fig2/net/default", seen)
    (tmp_path / "photos" / "cat.png").unlink()
    assert photographs(tmp_path, "fig2/net/default", seen) == first
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


def test_a_photo_that_has_changed_or_gone_is_left_out(tmp_path: Path) -> None:
    seen = put_seen(tmp_path)
    put_photo(tmp_path / "photos" / "cat.png", (300, 300))
    assert photographs(tmp_path, "fig2/net/default", seen) == {}
    (tmp_path / "photos" / "cat.png").unlink()
    assert photographs(tmp_path, "fig2/net/default", seen) == {}


def test_a_picture_of_another_part_is_not_placed(tmp_path: Path) -> None:
    seen = put_seen(tmp_path)
    with Image.open(seen["cat"]) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(seen["cat"])
    assert photographs(tmp_path, "fig2/net/default", seen) == {}


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    seen = put_seen(tmp_path, root="https://example.invalid/photos.zip")
    assert photographs(tmp_path, "fig2/net/default", seen) == {}


def test_a_run_of_another_version_has_none(tmp_path: Path) -> None:
    seen = put_seen(tmp_path)
    path = tmp_path / "fig2/net/default/config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**config, "images": {"no_such_key": 1}}))
    assert photographs(tmp_path, "fig2/net/default", seen) == {}
    assert photographs(tmp_path, "no/such/run", seen) == {}
