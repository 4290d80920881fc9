"""What is seen while it runs: bars in a terminal, lines elsewhere, previews, TensorBoard; and no result changes."""

import logging
import os
import pty
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import toys
from PIL import Image
from torch import Tensor

from deepinside import progress
from deepinside.config.settings import construct
from deepinside.errors import DeepInsideError
from deepinside.experiment.schema import Runtime
from deepinside.networks.network import Network
from deepinside.optimisation.optimisers import Adam, Optimised
from deepinside.progress import observer, screen
from deepinside.results.folder import NOT_IDENTITY

ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[\d;]*3[0-8][\d;]*m")


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return toys.grey(tmp_path)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def climb(network: Network, steps: int = 40, seconds: float = 0.0) -> Optimised:
    """Two images drawn towards brightness."""

    def objective(x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
        time.sleep(seconds)
        score = -(x - 50).square().flatten(1).mean(1)
        return score, {"score": score}

    return Adam(steps=steps, rate=5.0).maximise(torch.zeros(2, network.input.count, *network.size), objective)


@contextmanager
def shown(network: Network, folder: Path, photos: int = 0, **runtime: Any) -> Iterator[None]:
    experiment: Any = SimpleNamespace(name="exp[b]", runtime=Runtime(results=str(folder), **runtime))
    with progress.show_progress(experiment, network, folder / "exp" / "net" / "default", folder, photos):
        yield


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A terminal as the error output; what was written to it is there after the block."""
    master, slave = pty.openpty()
    written: list[str] = []
    with os.fdopen(slave, "w", encoding="utf-8") as stream, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        yield written
        stream.flush()
        os.set_blocking(master, False)
        chunks = b""
        with pytest.raises(BlockingIOError):
            while True:
                chunks += os.read(master, 65536)
        written.append(chunks.decode())
    os.close(master)


# ---- in a terminal ----


def test_a_terminal_shows_bars_with_score_and_rate(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with terminal(monkeypatch) as written, shown(network, tmp_path, photos=8):
        progress.set_position(0)
        progress.set_variant("paper")
        climb(network, steps=30, seconds=0.02)
        progress.advance(4)
        time.sleep(0.2)
    (text,) = written
    assert "exp[b] on grey" in text
    assert "paper, optimisation 1" in text
    assert re.search(r"\d+/30", text)
    assert "score -" in text
    assert re.search(r"[\d.]+/s", text)
    assert "4/8" in text
    assert COLOUR.search(text)
    assert text.endswith((f"{ESCAPE}[2K", f"{ESCAPE}[?25h")) or f"{ESCAPE}[?25h" in text  # the cursor is back


def test_no_color_is_respected(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal(monkeypatch) as written, shown(network, tmp_path):
        climb(network)
    assert "optimisation 1" in written[0]
    assert not COLOUR.search(written[0])


def test_what_is_logged_stands_above_the_bars(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch) as written:
        handler = logging.StreamHandler(sys.stderr)
        monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
        before = handler.stream
        with shown(network, tmp_path):
            assert handler.stream is not before
            logging.getLogger("deepinside").warning("a photo is broken")
        assert handler.stream is before
    assert "a photo is broken\r\n" in written[0]


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal(monkeypatch) as written, shown(network, tmp_path, verbosity="verbose"):
        climb(network)
    assert ESCAPE not in written[0]
    assert "step 40 of 40" in written[0]


# ---- in a pipe ----


def test_a_pipe_gets_a_plain_line_every_ten_seconds(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    with shown(network, tmp_path, photos=100, preview=None):
        progress.set_position(40)  # an earlier process has seen them
        climb(network, steps=10, seconds=4.0)
        for _ in range(3):
            time.sleep(6)
            progress.advance(20)
    out, err = capfd.readouterr()
    assert out == ""
    assert ESCAPE not in err
    assert [re.sub(r"score [-\d.]+", "score S", line) for line in err.splitlines()] == [
        "exp[b] on grey: optimisation 1: step 3 of 10, score S, 0.25/s, 28 s left",
        "exp[b] on grey: optimisation 1: step 6 of 10, score S, 0.25/s, 16 s left",
        "exp[b] on grey: optimisation 1: step 9 of 10, score S, 0.25/s, 4 s left",
        # 20 photos of this process's own in 46 s: the forty before were another's
        "exp[b] on grey: 60 of 100 photos, 0.435/s, 2 min left",
        "exp[b] on grey: 100 of 100 photos, 1.03/s, 58 s",
    ]


def test_short_runs_leave_no_lines(network: Network, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with shown(network, tmp_path, photos=4):
        climb(network)
        progress.advance(4)
    assert capfd.readouterr() == ("", "")


def test_verbose_tells_of_every_optimisation(
    network: Network, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with shown(network, tmp_path, verbosity="verbose"):
        climb(network)
        climb(network, steps=3)
    first, second = capfd.readouterr().err.splitlines()
    assert "optimisation 1: step 40 of 40" in first
    assert "optimisation 2: step 3 of 3" in second


def test_quiet_shows_nothing(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written, shown(network, tmp_path, verbosity="quiet"):
        climb(network)
    assert written == [""]


def test_of_runs_within_a_run_nothing_is_shown(
    network: Network, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with shown(network, tmp_path, verbosity="verbose"), shown(network, tmp_path, verbosity="verbose"):
        climb(network, steps=2)
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert not screen.BUSY


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.4, "3 s"), (89, "89 s"), (100, "2 min"), (3600, "60 min"), (7500, "2 h 5 min")]
)
def test_durations_are_told_as_people_do(seconds: float, words: str) -> None:
    assert screen.duration(seconds) == words


# ---- previews ----


def test_the_preview_is_a_picture_of_what_there_is(network: Network, tmp_path: Path) -> None:
    with shown(network, tmp_path, preview=0.01):
        climb(network, steps=20, seconds=0.005)
    with Image.open(tmp_path / "preview.png") as image:
        image.load()
        assert (image.width, image.height) == (2 * 128 + 4, 128)  # two of 16x16, magnified
        level = image.getpixel((5, 5))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("preview")) == ["preview.png"]
    assert isinstance(level, tuple)
    assert level[0] > 130  # on its way from the mean, 127.5, to 50 more


def test_a_folder_that_is_gone_stops_nothing(network: Network, tmp_path: Path) -> None:
    with shown(network, tmp_path / "gone", preview=0.001):
        found = climb(network, steps=5, seconds=0.002)
    assert not (tmp_path / "gone").exists()
    assert len(found.trace["score"][0]) == 5


def test_none_are_made_where_none_are_wanted(network: Network, tmp_path: Path) -> None:
    with shown(network, tmp_path, preview=None):
        climb(network, seconds=0.001)
    assert not (tmp_path / "preview.png").exists()


# ---- TensorBoard ----


def events(folder: Path) -> dict[str, dict[int, Any]]:
    """What an event file holds: by tag, by step."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.*")
    data, place = path.read_bytes(), 0
    found: dict[str, dict[int, Any]] = {}
    while place < len(data):
        length = int.from_bytes(data[place : place + 8], "little")
        event = Event.FromString(data[place + 12 : place + 12 + length])
        place += 12 + length + 4
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value
    return found


def test_tensorboard_gets_every_part_by_step_and_pictures(network: Network, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with shown(network, tmp_path, tensorboard=True):
        progress.set_variant("a b")
        trace = climb(network, steps=6).trace
    found = events(tmp_path / "tensorboard" / "exp" / "net" / "default")
    assert set(found) == {
        "a_b_1/objective", "a_b_1/score", "a_b_1/gradient_norm", "a_b_1/pictures",
        *(f"a_b_1_each/{part}/{i}" for part in ("objective", "score", "gradient_norm") for i in range(2)),
    }  # fmt: skip
    assert [found["a_b_1_each/score/1"][step].simple_value for step in range(1, 7)] == pytest.approx(
        trace["score"][1].tolist()
    )
    picture = found["a_b_1/pictures"][6].image
    assert picture.encoded_image_string.startswith(b"\x89PNG")
    assert picture.width == 2 * 128 + 4


def test_tensorboard_writes_where_it_is_told_and_nothing_without_optimisation(network: Network, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with shown(network, tmp_path, tensorboard=str(tmp_path / "own")):
        pass
    assert not (tmp_path / "own").exists()
    with shown(network, tmp_path, tensorboard=str(tmp_path / "own")):
        climb(network, steps=2)
    assert events(tmp_path / "own" / "exp" / "net" / "default")


def test_without_the_extra_tensorboard_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepinside.experiment.schema.find_spec", lambda name: None)
    with pytest.raises(DeepInsideError, match=r"runtime\.tensorboard: expected the package tensorboardX; install"):
        construct(Runtime, {"tensorboard": True}, "runtime")
    assert construct(Runtime, {"tensorboard": False}, "runtime").tensorboard is False


# ---- no result changes ----


def test_watching_changes_no_result(network: Network, tmp_path: Path) -> None:
    alone = climb(network)
    with shown(network, tmp_path, preview=0.001, tensorboard=True, verbosity="verbose"):
        watched = climb(network)
    assert torch.equal(alone.images, watched.images)


def test_how_a_run_is_shown_is_no_part_of_its_identity() -> None:
    assert {"runtime.verbosity", "runtime.preview", "runtime.tensorboard"} <= set(NOT_IDENTITY)


def test_calls_outside_of_a_run_do_nothing() -> None:
    progress.set_position(3)
    progress.advance(2)
    progress.set_variant("x")


def test_what_is_told_is_the_score_before_the_error_before_the_gain() -> None:
    parts = {"objective": torch.ones(2), "error": torch.tensor([0.5, 1.5]), "gradient_norm": torch.zeros(2)}
    assert observer.told(parts) == "error 1"
    assert observer.told(parts | {"score": torch.tensor([2.0, 4.0])}) == "score 3"
    assert observer.told({}) == ""
