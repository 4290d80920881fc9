"""The command line: `deepinside experiment=… network=… technique.l2=…`, Hydra's grammar.

Only Hydra is imported here; torch is imported when a run starts.
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
from threading import Thread
from typing import TYPE_CHECKING, Any

from deepinside.config import catalogue
from deepinside.config.paths import ROOT
from deepinside.console import loading
from deepinside.errors import DeepInsideError

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Threads that wait by spinning are ten times slower on a busy machine. OpenMP reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

FLAGS = {"--quiet": "runtime.verbosity=quiet", "--verbose": "runtime.verbosity=verbose"}
"""Flags, each an abbreviation of a setting."""

POSITION = "DEEPINSIDE_RUN"
"""The environment variable with a run's position in its sweep, as in `[7/21] fig2_saliency`."""

OWN = ("--repeat", "--version")
"""Options that Hydra does not have, or that it interprets differently."""

HELP = """deepinside: images and maps that show what an image classifier has learned, as in the papers.

  deepinside experiment=fig2_saliency                      one experiment on the built-in network
  deepinside experiment=fig2_saliency network=caffenet     on another network, downloaded at first use
  deepinside experiment=fig2_saliency images.root=FOLDER   on your own photos
  deepinside experiment=fig1_class_models technique.l2=0.01
  deepinside -m experiment=fig1_class_models technique.l2=1e-4,1e-3,1e-2
  deepinside -m experiment=fig2_saliency network='glob(*caffenet)' seed='range(4)' hydra/launcher=joblib
  deepinside --cfg job experiment=fig2_saliency            show the configuration without running it
  deepinside --repeat results/fig2_saliency/tinycaffenet/default     repeat a result from its config.yaml
  deepinside --version                                     versions of deepinside, Hydra and torch

Results go to results/EXPERIMENT/NETWORK/CHANGES/, the summary of a sweep (-m) to results/sweeps/NAME/.
Finished runs are skipped; the same command resumes a killed run.
Paths need no escaping (images.root='my photos (1)'). In a sweep a comma separates values, unless a file has exactly
that name.
--quiet prints only errors; --verbose reports every optimisation and adds tracebacks to errors.
Hydra's own options: deepinside --hydra-help
Shell completion: eval "$(deepinside -sc install=bash)"
"""


class Outcome:
    """Whether every run of this process is complete; Hydra discards the return value of a single run."""

    complete = True


def main() -> None:
    """The console script. The exit code is 0 only if every run is complete."""
    sys.argv[1:] = [FLAGS.get(word, word) for word in sys.argv[1:]]
    try:
        act(sys.argv[1:])
    except DeepInsideError as error:
        if FLAGS["--verbose"] in sys.argv:
            traceback.print_exc()
        sys.exit(f"deepinside: {error}")
    finally:
        loading.end()
    sys.exit(0 if Outcome.complete else 1)


def act(words: list[str]) -> None:
    """Execute the command line."""
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
    """Print the versions that affect results, without importing the packages."""
    from importlib.metadata import version

    print(f"deepinside {version('deepinside')}")
    for name, package in (("hydra", "hydra-core"), ("torch", "torch"), ("onnxruntime", "onnxruntime")):
        with suppress(PackageNotFoundError):
            print(f"{name} {version(package)}")


def repeat(words: list[str]) -> None:
    """Run the configuration of a result's folder again, with the overrides of the command line."""
    if not words:
        raise DeepInsideError("--repeat: expected the folder of a result after it, found nothing.")
    catalogue.publish_result(Path(words[0]))
    sys.argv = [sys.argv[0], *words[1:]]
    hydra_main("repeated")


def hydra_main(config_name: str) -> None:
    """Start Hydra, which calls `task` for every run of the command line."""
    import hydra

    from deepinside.config import hydra_errors, quoting
    from deepinside.sweeps import plugins

    sys.argv[1:] = hydra_errors.options_first(sys.argv[1:])
    hydra_errors.refuse_options(sys.argv[1:], [*FLAGS, *OWN])
    sys.argv[1:] = quoting.quoted_words(sys.argv[1:])
    catalogue.publish()
    plugins.register()
    with hydra_errors_explained():
        hydra.main(version_base="1.3", config_path=str(ROOT / "configs"), config_name=config_name)(task)()


@contextmanager
def hydra_errors_explained() -> Iterator[None]:
    """Turn Hydra's errors into a DeepInsideError; HYDRA_FULL_ERROR=1 shows Hydra's traceback instead."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from deepinside.config import hydra_errors

    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = before or "1"  # else Hydra prints the error and exits
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
    """One run: print where its result is, or one sentence on why it failed; the other runs of a sweep continue.

    This includes bugs of the program; --verbose adds tracebacks. Returns the value of `execute`, or the reason of the
    failure. Hydra's launchers return it to the sweeper.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from deepinside.config import hydra_errors

    started = time.perf_counter()
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        ended = execute(plain, plain if is_default(config) else None)  # type: ignore[arg-type]
    except (DeepInsideError, OmegaConfBaseException) as error:
        loading.end()
        ended = failed(hydra_errors.explain(error), started)
        hydra_errors.print_error(ended["reason"], config)
    except Exception as error:
        loading.end()
        ended = failed(f"{type(error).__name__}: {error}", started)
        hydra_errors.print_error(
            f"{ended['reason']}; this is a bug in deepinside; --verbose shows the traceback.", config
        )
    Outcome.complete = Outcome.complete and ended["complete"]
    publish(config)
    return ended


def is_default(config: "DictConfig") -> bool:
    """Whether the command changes no default of its experiment, except settings that do not determine the result.

    Then the configuration has its own defaults, and they need not be composed, which takes 0.1 s.
    """
    from hydra.core.hydra_config import HydraConfig

    from deepinside.results.folder import NOT_IDENTITY

    hydra = HydraConfig.get()
    changed = {word.partition("=")[0] for word in hydra.overrides.task}
    names = {"experiment": config.get("name"), "network": config.get("network", {}).get("name")}
    own = [source.path for source in hydra.runtime.config_sources if source.provider == "main"]
    return (
        changed <= {*names, *NOT_IDENTITY}
        and all(hydra.runtime.choices.get(group) == name for group, name in names.items())
        and all(catalogue.is_known(group, str(name)) for group, name in names.items())
        and (hydra.job.config_name, own) == ("config", [str(ROOT / "configs")])
    )


def publish(config: "DictConfig") -> None:
    """Update the report; after a sweep the sweeper does this once for all runs."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    root = Path(config.runtime.results)
    if HydraConfig.get().mode == RunMode.RUN and config.runtime.report and root.is_dir():
        from deepinside.html_report import refresh

        refresh(root)
        if config.runtime.verbosity != "quiet":
            from deepinside.console.tables import SCREEN

            SCREEN.print(f"report: {root / 'index.html'}", markup=False)


def failed(reason: str, started: float) -> dict[str, Any]:
    seconds = round(time.perf_counter() - started, 3)
    return {"status": "failed", "reason": reason, "seconds": seconds, "metrics": {}, "complete": False}


def execute(config: dict[str, Any], defaults: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run one configuration; `defaults` is that of the same experiment without changes, if it is known.

    Returns the result's `folder`, relative to the results root, `experiment`, `network`, `status`, `reason`,
    `seconds`, `metrics`, and `complete`: whether no photo was left out.
    """
    from deepinside.console import tables
    from deepinside.pipeline import finished
    from deepinside.results import folder as results

    folder = results.folder_of(config, defaults)
    found = finished.known(config, folder) or computed(config, folder)
    loading.end()
    tables.print_run(folder, found, config["runtime"].get("verbosity", "normal"), os.environ.get(POSITION, ""))
    summary = {name: found[name] for name in ("experiment", "network", "status", "seconds", "metrics")}
    place = folder.relative_to(config["runtime"]["results"]).as_posix()
    return {"folder": place, **summary, "reason": None, "complete": not found["skipped"]}


def computed(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The return value of `pipeline.run`."""
    import_torch()
    from deepinside.pipeline.run import run

    loading.end()
    if config["runtime"].get("report"):
        Thread(target=import_report).start()
    return run(config, folder)


def import_report() -> None:
    """Import what writes the report, 0.1 s; a background thread does it while the run waits for files or computes."""
    import deepinside.html_report  # noqa: F401


@cache
def import_torch() -> None:
    """Import torch and every module that uses it, once, without garbage collection, which is 10 % faster.

    `gc.freeze` excludes the imported objects, which are never freed, from later collections.
    """
    gc.disable()
    try:
        import deepinside.pipeline.run  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()
