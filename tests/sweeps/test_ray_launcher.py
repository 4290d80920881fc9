"""Ray: what is sent to a node, what is refused, and a cluster that loses a node in the middle of a sweep."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from types import SimpleNamespace
from typing import Any

import pytest
from corridor import call, content

from deepinside.errors import DeepInsideError
from deepinside.results.provenance import code
from deepinside.sweeps import ray_launcher
from deepinside.sweeps.ray_launcher import RayLauncher

TASK = "caffe_class_model_cat"
JOBS = (
    "experiment=" + TASK,
    "technique.optimiser.steps=100",
    "technique.noise=range(1,7)",
    "seed=0,1",
    "runtime.threads=1",
)
LONGEST = 600.0
"""Seconds that anything here may take on a busy machine."""


# ---- without a cluster ----


def test_what_is_sent_to_a_node_is_whole(tmp_path: Path) -> None:
    ray_launcher.staged(tmp_path)
    told = "from deepinside.config import catalogue, composition; from deepinside.results import provenance; "
    told += "import deepinside; "
    told += (
        "print(deepinside.__file__, provenance.code(), composition.compose_dict(['experiment=sweep_contrast'])['name'])"
    )
    paths = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=tmp_path, env=paths, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == str(tmp_path / "deepinside" / "__init__.py")
    assert str(code()) in done.stdout
    assert done.stdout.split()[-1] == "sweep_contrast"
    assert not list(tmp_path.rglob("__pycache__")) or (tmp_path / "deepinside" / "conf_models").is_dir()


def launcher(**changes: Any) -> RayLauncher:
    settings: dict[str, Any] = {"address": None, "cpus": 2, "gpus": None, "retries": 3, "ship": True}
    return RayLauncher(**{**settings, **changes})


def on(device: str) -> Any:
    return SimpleNamespace(runtime=SimpleNamespace(device=device))


def test_a_run_on_cuda_takes_a_gpu_unless_told_otherwise() -> None:
    assert launcher().needs(on("cpu")) == {"num_cpus": 2, "num_gpus": 0}
    assert launcher().needs(on("cuda:0")) == {"num_cpus": 2, "num_gpus": 1}
    assert launcher(gpus=0.5).needs(on("cuda")) == {"num_cpus": 2, "num_gpus": 0.5}


@pytest.mark.parametrize(("device", "fits"), [("cpu", True), ("cuda", False)])
def test_a_run_that_fits_on_no_node_is_refused(device: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}}]
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: nodes))
    if fits:
        launcher().check_room([on(device)])
        return
    with pytest.raises(DeepInsideError, match="a run wants 2 cores, 1 GPUs; the nodes have 2 and 0"):
        launcher().check_room([on(device)])


def test_a_job_that_is_lost_for_good_leaves_the_others_what_they_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(task: str) -> str:
        if task == "b":
            raise RuntimeError("its worker died\nfour times")
        return task.upper()

    newest_first = SimpleNamespace(wait=lambda tasks, num_returns: (tasks[-1:], tasks[:-1]), get=get)
    monkeypatch.setitem(sys.modules, "ray", newest_first)
    found: list[Any] = launcher().gather(["a", "b", "c"])
    assert (found[0], found[2]) == ("A", "C")
    with pytest.raises(DeepInsideError, match=r"its worker was lost \(RuntimeError: its worker died\)"):
        found[1].return_value  # noqa: B018


def test_a_working_directory_that_a_node_does_not_see_is_named() -> None:
    with pytest.raises(DeepInsideError, match="/nowhere does not exist on node"):
        ray_launcher.work(None, lambda config: None, None, None, "/nowhere")  # type: ignore[arg-type]


@pytest.mark.parametrize("address", [None, "auto", "local"])
def test_an_address_that_is_no_host_is_left_to_ray(address: str | None) -> None:
    ray_launcher.knock(address)


def test_a_cluster_that_is_not_there_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # bound, and nobody listens
        monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
        with (
            pytest.raises(DeepInsideError, match=f"expected a Ray cluster at {address}, found none"),
            ray_launcher.connected(address, ship=False),
        ):
            pass


# ---- with one ----


@dataclass
class Node:
    """A node of a Ray cluster on this machine: one session of processes, which ends with it."""

    scratch: Path
    environment: Mapping[str, str]
    words: tuple[str, ...]
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        start = ("start", *self.words, "--block", "--num-cpus=1", "--object-store-memory=100000000",
                 f"--temp-dir={self.scratch}", "--disable-usage-stats")  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *start],
            env=self.environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def processes(self) -> dict[int, str]:
        """What each living process of this node calls itself."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                state, *_ = stat = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(stat[3]) == self.process.pid and state != "Z":
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue  # it ended meanwhile
        return found

    def kill(self) -> None:
        """SIGKILL, to all at once: no process has time to say goodbye."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        self.process.wait()


def until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.05)


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[Node], dict[str, str]]]:
    """A head and a second node, a core each; all their processes are gone afterwards."""
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32), "OMP_NUM_THREADS": "1"}
    nodes: list[Node] = []
    # the path of a socket must be short
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        try:
            head = ("--head", f"--port={port}", "--include-dashboard=false")
            nodes.append(Node(Path(scratch, "a"), environment, head))
            until(lambda: listens(port), "the head listens")
            nodes.append(Node(Path(scratch, "b"), environment, (f"--address=127.0.0.1:{port}",)))
            until(lambda: any("raylet" in name for name in nodes[1].processes().values()), "the second node is up")
            yield f"127.0.0.1:{port}", nodes, environment
        finally:
            for node in nodes:
                node.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def done_in(root: Path) -> list[Path]:
    found = [path.parent for path in (root / "results" / TASK).glob("*/*/metrics.json")]
    return [folder for folder in found if json.loads((folder / "metrics.json").read_text())["status"] == "done"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_that_dies_in_the_middle_of_a_sweep_costs_nothing_but_time(
    cluster: tuple[str, list[Node], dict[str, str]], bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, (_, second), environment = cluster
    (bench / "ray").mkdir()
    command = [sys.executable, "-c", "from deepinside.cli import run as cli; cli.main()", "-m", *JOBS]
    sweep = subprocess.Popen(
        [*command, "hydra/launcher=ray", f"hydra.launcher.address={address}"],
        cwd=bench / "ray", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        at_work = f"ray::{TASK}"
        until(
            lambda: (
                sweep.poll() is not None
                or (len(done_in(bench / "ray")) >= 3 and any(at_work in name for name in second.processes().values()))
            ),
            "three runs are done and the second node is at another",
        )
        before = done_in(bench / "ray")
        second.kill()
        assert 3 <= len(before) < 12
        said, _ = sweep.communicate(timeout=LONGEST)
    finally:
        sweep.kill()
    assert sweep.returncode == 0, said
    (record,) = (bench / "ray" / "results" / "sweeps").glob("*/sweep.json")
    runs = json.loads(record.read_text())["runs"]
    assert [run["status"] for run in runs] == ["done"] * 12
    (bench / "alone").mkdir()
    monkeypatch.chdir(bench / "alone")
    assert call(monkeypatch, "-m", *JOBS) == 0
    for run in runs:
        assert content(bench / "ray" / "results" / run["folder"]) == content(
            bench / "alone" / "results" / run["folder"]
        )
