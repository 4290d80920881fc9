"""The command line: `deepinside experiment=… network=… technique.l2=…`, Hydra's grammar.

Only Hydra is imported here; torch comes when work starts.
"""

import gc
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepinside.config import catalogue, composition
from deepinside.config.paths import ROOT
from deepinside.console import loading
from deepinside.errors import DeepInsideError

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Threads that wait for each other by spinning take ten times as long on a machine that does anything else besides.
# OpenMP reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

FLAGS = {"--quiet": "runtime.verbosity=quiet", "--verbose": "runtime.verbosity=verbose"}
"""Words of the command line that stand for a setting."""

OWN = ("--repeat", "--version")
"""Options that Hydra has not got, or says something else to."""

HELP = """deepinside: look inside an image classifier, as the papers did.

  deepinside experiment=fig2_saliency                      one experiment on the network that ships with it
  deepinside experiment=fig2_saliency network=caffenet     on another network, fetched at first use
  deepinside experiment=fig2_saliency images.root=FOLDER   on your own photos
  deepinside experiment=fig1_class_models technique.l2=0.01
  deepinside -m experiment=fig1_class_models technique.l2=1e-4,1e-3,1e-2
  deepinside -m experiment=fig2_saliency network='glob(*caffenet)' seed='range(4)' hydra/launcher=joblib
  deepinside --cfg job experiment=fig2_saliency            show the configuration and do nothing
  deepinside --repeat results/fig2_saliency/tinycaffenet/default     run a result's config.yaml once more
  deepinside --version                                     of deepinside, Hydra and torch

Results go to results/EXPERIMENT/NETWORK/CHANGES/, the record of a sweep (-m) to results/sweeps/NAME/.
What is done already is skipped; a run that was killed is finished by the same command.
A path is written as it is (images.root='my photos (1)'); in a sweep a comma separates values, unless a file of the
whole name is there.
--quiet says nothing but errors, --verbose tells of every optimisation and adds tracebacks to errors.
Hydra's own options: deepinside --hydra-help
Shell completion: eval "$(deepinside -sc install=bash)"
"""


composed, compose_plain = composition.compose_config, composition.compose_dict


class Outcome:
    """Whether everything asked for was done in this process; Hydra drops what a single run returns."""

    complete = True


def main() -> None:
    """The console script. Exit code 0 only if everything asked for was done."""
    sys.argv[1:] = [FLAGS.get(word, word) for word in sys.argv[1:]]
    try:
        act(sys.argv[1:])
    except DeepInsideError as error:
        if FLAGS["--verbose"] in sys.argv:
            traceback.print_exc()
        sys.exit(f"deepinside: {error}")
    finally:
        loading.over()
    sys.exit(0 if Outcome.complete else 1)


def act(words: list[str]) -> None:
    """Do what the command line asks for."""
    if {"--help", "-h"} & set(words):
        print_help()
    elif "--version" in words:
        print_versions()
    elif words[:1] == ["--repeat"]:
        repeat(words[1:])
    else:
        hydra_main("config")


def print_help() -> None:
    print(HELP)
    for group in (*catalogue.GROUPS, "technique"):
        print(f"{group}=")
        for name, title in catalogue.titles(group).items():
            print(f"  {name:<28} {title}")


def print_versions() -> None:
    """Those that decide what comes out, told without importing any of it."""
    from importlib.metadata import version

    print(f"deepinside {version('deepinside')}")
    for name, package in (("hydra", "hydra-core"), ("torch", "torch"), ("onnxruntime", "onnxruntime")):
        with suppress(PackageNotFoundError):
            print(f"{name} {version(package)}")


def repeat(words: list[str]) -> None:
    """Run the configuration in a result's folder once more, with the command line's changes if there are any."""
    if not words:
        raise DeepInsideError("--repeat: expected the folder of a result after it, found nothing.")
    catalogue.publish_result(Path(words[0]))
    sys.argv = [sys.argv[0], *words[1:]]
    hydra_main("repeated")


def hydra_main(config_name: str) -> None:
    """Hand over to Hydra, which calls `task` for every run the command line asks for."""
    import hydra

    from deepinside.config import hydra_errors, quoting
    from deepinside.sweeps import plugins

    sys.argv[1:] = hydra_errors.options_first(sys.argv[1:])
    hydra_errors.refuse_options(sys.argv[1:], [*FLAGS, *OWN])
    sys.argv[1:] = quoting.quoted_words(sys.argv[1:])
    catalogue.publish()
    plugins.register()
    with one_sentence():
        hydra.main(version_base="1.3", config_path=str(ROOT / "configs"), config_name=config_name)(task)()


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what Hydra refuses into a DeepInsideError; HYDRA_FULL_ERROR=1 shows its own traceback instead."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from deepinside.config import hydra_errors

    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = before or "1"  # else Hydra prints its words itself and leaves
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        if before:
            raise
        raise DeepInsideError(hydra_errors.explain(error)) from error
    except OSError as error:
        raise DeepInsideError(f"runtime.results: expected a folder that can be written to, found {error}.") from error
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]


def task(config: "DictConfig") -> dict[str, Any]:
    """One run: say where its result is, or in one sentence why there is none; a sweep's other runs go on.

    That holds for faults of the program itself, too; --verbose adds tracebacks. Returns what `execute` returns;
    a run that failed has the reason. Every launcher of Hydra's brings it back to the sweeper.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from deepinside.config import hydra_errors

    started = time.perf_counter()
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        ended = execute(plain)  # type: ignore[arg-type]
    except (DeepInsideError, OmegaConfBaseException) as error:
        loading.over()
        ended = failed(hydra_errors.explain(error), started)
        hydra_errors.print_error(ended["reason"], config)
    except Exception as error:
        loading.over()
        ended = failed(f"{type(error).__name__}: {error}", started)
        hydra_errors.print_error(f"{ended['reason']}; a fault of the program: --verbose shows where.", config)
    Outcome.complete = Outcome.complete and ended["complete"]
    publish(config)
    return ended


def publish(config: "DictConfig") -> None:
    """Bring the report up to date; after a sweep its sweeper does that once for all."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    root = Path(config.runtime.results)
    if HydraConfig.get().mode == RunMode.RUN and config.runtime.report and root.is_dir():
        from deepinside.html_report import refresh

        refresh(root)


def failed(reason: str, started: float) -> dict[str, Any]:
    seconds = round(time.perf_counter() - started, 3)
    return {"status": "failed", "reason": reason, "seconds": seconds, "metrics": {}, "complete": False}


def execute(config: dict[str, Any]) -> dict[str, Any]:
    """Run one configuration.

    Returns the result's `folder`, relative to the results root, `experiment`, `network`, `status`, `reason`,
    `seconds`, `metrics`, and `complete`: whether no photo was left out.
    """
    from deepinside.console import tables
    from deepinside.pipeline import finished
    from deepinside.results import folder as results

    folder = results.folder_of(config)
    found = finished.known(config, folder) or computed(config, folder)
    loading.over()
    tables.print_run(folder, found, config["runtime"].get("verbosity", "normal"))
    kept = {name: found[name] for name in ("experiment", "network", "status", "seconds", "metrics")}
    place = folder.relative_to(config["runtime"]["results"]).as_posix()
    return {"folder": place, **kept, "reason": None, "complete": not found["skipped"]}


def computed(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What `pipeline.run` returns."""
    import_what_computes()
    from deepinside.pipeline.run import run

    loading.over()
    return run(config, folder)


@cache
def import_what_computes() -> None:
    """Import torch and all that computes with it, once, a tenth faster than as it comes.

    While modules are made, Python looks through all it holds for garbage time and again. They stay for good: the
    search waits until they are there, and leaves them out ever after.
    """
    gc.disable()
    try:
        import deepinside.pipeline.run  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()
