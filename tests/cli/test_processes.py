"""The commands as processes: what a terminal, a pipe and Ctrl-C see of them."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from corridor import photo

from deepinside.cli import entry_points

START = "import sys; sys.argv[0] = 'deepinside'; from deepinside.cli import entry_points; entry_points.deepinside()"
LONG = ("technique=class_model", "images=none", "technique.targets=[lion]", "technique.optimiser.steps=1000000",
        "runtime.threads=1")  # fmt: skip


def begun(words: Sequence[str], folder: Path, **options: int) -> "subprocess.Popen[str]":
    where = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, "-c", START, *words], cwd=folder, text=True, **where)  # type: ignore[call-overload]


def wait_for(found: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not found():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_ctrl_c_is_one_sentence_at_the_start_of_a_run_and_of_a_sweep_and_in_their_middle(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("start", "run", "sweep")}
    for folder in folders.values():
        folder.mkdir()
    start, run = begun(LONG, folders["start"]), begun(LONG, folders["run"])
    sweep = begun(["-m", *LONG, "seed=1,2"], folders["sweep"])
    time.sleep(1)  # in the middle of what it imports
    start.send_signal(signal.SIGINT)
    for process, folder in ((run, folders["run"]), (sweep, folders["sweep"])):
        wait_for(lambda folder=folder: any(folder.glob("results/*/*/*.part/origin.json")), process)  # type: ignore[misc]
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    for process in (start, run, sweep):
        out, err = process.communicate(timeout=60)
        assert process.returncode == entry_points.INTERRUPTED == 130
        told = [line for line in err.splitlines() if line.startswith("deepinside: ")]
        assert told == ["deepinside: interrupted; finished work is kept, and the same command resumes it."]
        assert "Traceback" not in out + err


def test_whoever_stops_reading_hears_no_complaint_and_stops_no_work(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "x.png")
    words = ["images=none", "images.root=photos", "runtime.threads=1", "runtime.report=false"]
    for told in (["--help"], ["-m", *words, "seed=1,2"]):
        reading, writing = os.pipe()
        os.close(reading)
        process = begun(told, tmp_path, stdout=writing)
        os.close(writing)
        _, err = process.communicate(timeout=120)
        assert err == ""
        assert process.returncode == (entry_points.UNREAD if told == ["--help"] else 0)
    assert len(list(tmp_path.glob("results/adhoc/*/*/metrics.json"))) == 2


def test_a_terminal_is_told_at_once_that_it_loads_and_what_is_done_needs_no_torch(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "x.png")
    words = ["images=none", "images.root=photos", "runtime.threads=1", "runtime.report=false"]
    out, err = begun(words, tmp_path).communicate(timeout=120)
    assert "Loading" not in out + err  # a log
    mine, its = pty.openpty()
    guarded = START.replace("import sys;", "import sys; sys.modules['torch'] = None;")  # whoever imports it fails
    started = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", guarded, *words],
        cwd=tmp_path,
        stdout=its,
        stderr=its,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(its)
        said = os.read(mine, 100).decode()
        seconds = time.monotonic() - started
        process.wait(60)
        said += os.read(mine, 10_000).decode()
    os.close(mine)
    assert process.returncode == 0
    assert said.startswith("Loading…\r\x1b[K")
    assert "already done" in said
    assert seconds < 3, "it takes a tenth of a second on a machine that does nothing else"


@pytest.mark.parametrize(
    ("command", "words"), [("deepinside", "--version"), ("deepinside", "--help"), ("deepinside_results", "--help")]
)
def test_help_and_versions_import_nothing_large(command: str, words: str) -> None:
    code = (
        "import sys\n"
        f"for name in ('torch', 'numpy', 'hydra', 'matplotlib'): sys.modules[name] = None\n"
        f"sys.argv = ['deepinside', {words!r}]\n"
        f"from deepinside.cli import entry_points; entry_points.{command}()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("deepinside", "usage: deepinside"))
    if words == "--version":
        assert [line.split()[0] for line in done.stdout.splitlines()][:3] == ["deepinside", "hydra", "torch"]


HEAVY = ("scipy.stats", "scipy.ndimage", "sklearn", "skimage.metrics", "pandas", "torchvision.ops", "torch._dynamo")
MODULES = """
import sys
sys.argv[0] = 'deepinside'
from deepinside.cli import run
try:
    run.main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def test_a_first_picture_imports_no_library_that_only_other_runs_need(tmp_path: Path) -> None:
    """Each of `HEAVY` takes 0.1 to 1 s of CPU time, of 3.5 s for the whole command."""
    words = ["experiment=fig2_saliency", "runtime.threads=1", "runtime.report=false", "runtime.verbosity=quiet"]
    done = subprocess.run(
        [sys.executable, "-c", MODULES, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and list(tmp_path.glob("results/*/*/*/figure.png")), done.stderr[-2000:]
    imported = done.stderr.split()
    assert "torch" in imported
    assert not set(HEAVY) & set(imported)
