"""Runs as tasks of a Ray cluster: what finished is kept when a worker or a node dies, what it lost runs again."""

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

from deepinside.errors import DeepInsideError
from deepinside.home import HOME, PACKAGE
from deepinside.provenance import COMMIT, code

PATIENCE = 10
"""Seconds for a cluster's head to answer."""
SHIPPED = ("configs", "conf_models", "experiments")


class RayLauncher(Launcher):
    """`hydra/launcher=ray`; the settings are those of `configs/hydra/launcher/ray.yaml`."""

    def __init__(self, address: str | None, cpus: float, gpus: float | None, retries: int, ship: bool) -> None:
        self.address, self.cpus, self.gpus, self.retries, self.ship = address, cpus, gpus, retries, ship

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        if importlib.util.find_spec("ray") is None:
            raise DeepInsideError("hydra/launcher=ray needs an extra: install it with pip install 'deepinside[ray]'.")
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run every job to its end, however often its worker or node dies, up to `retries` times each."""
        setup_globals()
        configs = [self.composed(words, initial_job_idx + i) for i, words in enumerate(job_overrides)]
        with connected(self.address, self.ship):
            self.check_room(configs)
            return self.gather([self.start(config) for config in configs])

    def composed(self, words: Sequence[str], number: int) -> DictConfig:
        """A job's configuration, composed here: nodes need none of the files it comes from."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def needs(self, config: DictConfig) -> dict[str, float]:
        """Cores and GPUs of a run, in Ray's words."""
        cuda = str(config.runtime.device).startswith("cuda")
        return {"num_cpus": self.cpus, "num_gpus": float(cuda) if self.gpus is None else self.gpus}

    def check_room(self, configs: Sequence[DictConfig]) -> None:
        """Raises DeepInsideError where no node is large enough for a run, which Ray would wait for without end."""
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

        # A task is given back to Ray whole: what a dead worker left half-done is the run's own to resume
        task = ray.remote(work).options(**self.needs(config), max_retries=self.retries, name=str(config.name))
        return task.remote(self.hydra_context, self.task_function, config, Singleton.get_state(), str(Path.cwd()))

    def gather(self, tasks: list[Any]) -> list[JobReturn]:
        """The tasks' values, each taken as soon as it is there, so that none is lost with the worker that made it."""
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
    """What stands for a run whose worker died more often than it is started again."""
    ended = JobReturn(status=JobStatus.FAILED)
    ended.return_value = DeepInsideError(f"its worker was lost ({type(error).__name__}: {str(error).splitlines()[0]})")
    return ended


def work(
    hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig, state: Any, folder: str
) -> JobReturn:
    """One run, in a worker of Ray, in the working directory that the command was given in."""
    if not Path(folder).is_dir():
        raise DeepInsideError(f"{folder} is not there on the node {platform.node()}; every node has to see it.")
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
    """Ray, started here or joined, for as long as the block lasts."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # what runs say alike is said by each
    import ray

    with tempfile.TemporaryDirectory() as scratch:
        # a cluster that is joined has a dashboard or not already, and may not have the package
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
    """Raises ConnectionError or TimeoutError where nobody listens at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()


def staged(folder: Path) -> Path:
    """A copy of the package with its configurations inside, as a wheel has them, to send to the nodes."""
    target = folder / "deepinside"
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, target, ignore=leave)
    for name in SHIPPED:
        if not (target / name).is_dir():
            shutil.copytree(HOME / name, target / name, ignore=leave)
    (target / COMMIT.name).write_text(json.dumps(code()), encoding="utf-8")
    return target
