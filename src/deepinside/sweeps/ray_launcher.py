"""Runs as tasks on a Ray cluster. Finished runs survive a dead worker or node; lost runs start again."""

import importlib.util
import json
import logging
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from deepinside.config.paths import PACKAGE, ROOT
from deepinside.errors import DeepInsideError
from deepinside.results.provenance import COMMIT, code

PATIENCE = 10
"""Seconds to wait for the head node."""
SHIPPED = ("configs", "conf_models", "experiments")


class RayLauncher(Launcher):
    """`hydra/launcher=ray`; see `configs/hydra/launcher/ray.yaml` for its settings."""

    def __init__(self, address: str | None, cpus: float, gpus: float | None, retries: int, ship: bool) -> None:
        self.address, self.cpus, self.gpus, self.retries, self.ship = address, cpus, gpus, retries, ship

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        if importlib.util.find_spec("ray") is None:
            raise DeepInsideError("hydra/launcher=ray needs an extra: install it with pip install 'deepinside[ray]'.")
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run every job to its end; a job whose worker or node dies restarts up to `retries` times."""
        setup_globals()
        configs = [self.composed(words, initial_job_idx + i) for i, words in enumerate(job_overrides)]
        with connected(self.address, self.ship):
            self.check_room(configs)
            return self.gather([self.start(config) for config in configs])

    def composed(self, words: Sequence[str], number: int) -> DictConfig:
        """A job's configuration, composed locally, so nodes need no YAML files."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def needs(self, config: DictConfig) -> dict[str, float]:
        """The cores and GPUs of a run, as Ray's options."""
        cuda = str(config.runtime.device).startswith("cuda")
        return {"num_cpus": self.cpus, "num_gpus": float(cuda) if self.gpus is None else self.gpus}

    def check_room(self, configs: Sequence[DictConfig]) -> None:
        """Raise DeepInsideError if no node is large enough for a run; Ray would wait forever."""
        import ray

        rooms = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for wanted in map(self.needs, configs):
            if not any(fits(wanted, room) for room in rooms):
                have = "; ".join(f"{room.get('CPU', 0):g} and {room.get('GPU', 0):g}" for room in rooms)
                raise DeepInsideError(
                    f"hydra/launcher=ray: a run wants {wanted['num_cpus']:g} cores, {wanted['num_gpus']:g} GPUs; the "
                    f"nodes have {have}; set hydra.launcher.cpus, hydra.launcher.gpus or runtime.threads."
                )

    def start(self, config: DictConfig) -> Any:
        import ray

        # Ray restarts a lost task; the run itself resumes from its checkpoint
        task = ray.remote(work).options(**self.needs(config), max_retries=self.retries, name=str(config.name))
        return task.remote(self.hydra_context, self.task_function, config, Singleton.get_state(), str(Path.cwd()))

    def gather(self, tasks: list[Any]) -> list[JobReturn]:
        """Collect each result as soon as it is ready, so that none is lost with its worker."""
        import ray

        found: dict[Any, JobReturn] = {}
        waiting = list(tasks)
        while waiting:
            (ended, *_), waiting = ray.wait(waiting, num_returns=1)
            try:
                found[ended] = ray.get(ended)
            except Exception as error:
                found[ended] = lost(error)
        return [found[task] for task in tasks]


def fits(wanted: Mapping[str, float], room: Mapping[str, float]) -> bool:
    return wanted["num_cpus"] <= room.get("CPU", 0) and wanted["num_gpus"] <= room.get("GPU", 0)


def lost(error: Exception) -> JobReturn:
    """The outcome of a run whose worker died more often than `retries`."""
    ended = JobReturn(status=JobStatus.FAILED)
    ended.return_value = DeepInsideError(f"its worker was lost ({type(error).__name__}: {str(error).splitlines()[0]})")
    return ended


def work(
    hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig, state: Any, folder: str
) -> JobReturn:
    """Execute one run in a Ray worker, in the command's working directory."""
    if not Path(folder).is_dir():
        raise DeepInsideError(f"{folder} does not exist on node {platform.node()}; every node must see this folder.")
    os.chdir(folder)
    Singleton.set_state(state)
    setup_globals()
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=hydra_context, task_function=task_function, config=config,
        job_dir_key="hydra.sweep.dir", job_subdir_key="hydra.sweep.subdir",
    )  # fmt: skip


@contextmanager
def connected(address: str | None, ship: bool) -> Iterator[None]:
    """A local or existing Ray cluster for the duration of the block."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # keep identical log lines of different runs
    import ray

    with tempfile.TemporaryDirectory() as scratch:
        # an existing cluster has its own dashboard setting and may lack the package
        joined: dict[str, Any] = {"runtime_env": {"py_modules": [str(staged(Path(scratch)))]}} if ship else {}
        try:
            knock(address)
            ray.init(
                address or "local", logging_level=logging.ERROR, **(joined if address else {"include_dashboard": False})
            )
        except (ConnectionError, TimeoutError, socket.gaierror) as error:
            raise DeepInsideError(
                f"hydra.launcher.address: expected a Ray cluster at {address}, found none."
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def knock(address: str | None) -> None:
    """Raise ConnectionError or TimeoutError if HOST:PORT does not answer; Ray itself would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()


def staged(folder: Path) -> Path:
    """A copy of the package including its YAMLs, laid out as in a wheel, to send to the nodes."""
    target = folder / "deepinside"
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, target, ignore=leave)
    for name in SHIPPED:
        if not (target / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=leave)
    (target / COMMIT.name).write_text(json.dumps(code()), encoding="utf-8")
    return target
