"""The sweeper: lists the runs of a command, hands them to a launcher and records their outcomes."""

import logging
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, product, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from deepinside.config import catalogue
from deepinside.config.quoting import quoted
from deepinside.errors import DeepInsideError

if TYPE_CHECKING:
    from deepinside.sweeps.runs import Run

Answer = Mapping[str, Any]
"""The return value of `deepinside.cli.run.task` for a run."""


@dataclass(frozen=True)
class Job:
    """One planned run: its Hydra overrides and its result folder (None if its configuration is invalid)."""

    words: tuple[str, ...]
    overrides: Mapping[str, Any]
    root: Path
    folder: Path | None
    names: tuple[str, str]


class GridSweeper(Sweeper):
    """Runs every combination of the given values, like Hydra's basic sweeper, and records every outcome.

    The keys of `zip` advance together: of two keys with three values each, three runs instead of nine.

    All configurations are composed before the first run starts, so an error in one refuses the sweep. A failed or lost
    run is recorded, and the others continue. Raises DeepInsideError after writing the record if any run is not done.
    """

    def __init__(self, max_batch_size: int | None, params: Mapping[str, Any], zip: Sequence[str] = ()) -> None:
        self.max_batch_size, self.params, self.zipped = max_batch_size, params, tuple(zip)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader, self.master = hydra_context.config_loader, config
        if not config.hydra.verbose:
            logging.getLogger("hydra").setLevel(logging.WARNING)  # every run prints its own name and folder
        self.launch = (
            Plugins.instance()
            .instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=config)
            .launch
        )

    def sweep(self, arguments: list[str]) -> None:
        commands = [self.parsed(command) for command in self.commands(arguments)]
        jobs = [self.job(words) for command in commands for words in combinations(command, self.zipped)]
        jobs[0].root.mkdir(parents=True, exist_ok=True)
        positions = position_words(jobs)
        batch_size = self.max_batch_size or len(jobs)
        answers: list[Answer | None] = []
        failure: BaseException | None = None
        try:
            for first in range(0, len(jobs), batch_size):
                some = slice(first, first + batch_size)
                batch = [(*job.words, word) for job, word in zip(jobs[some], positions[some], strict=True)]
                answers += [answer(returned) for returned in self.launch(batch, initial_job_idx=first)]
        except DeepInsideError:
            raise  # the launcher refused to start
        except (Exception, KeyboardInterrupt) as error:
            failure = error
        self.finalise(jobs, answers, failure)

    def commands(self, arguments: list[str]) -> Iterator[list[str]]:
        """The command's overrides plus the experiment file's own sweep; one command per experiment if that is swept.

        The command line overrides the file.
        """
        swept = next(
            (o for o in self.parsed(arguments) if o.key_or_group == "experiment" and o.is_sweep_override()), None
        )
        if swept is None:
            yield [*words_of(self.params), *arguments]
            return
        rest = [word for word in arguments if word != swept.input_line]
        for name in swept.sweep_string_iterator():
            inside = {**self.params, **own_params(name.strip("'\""))}
            yield [f"experiment={name}", *words_of(inside), *rest]

    def parsed(self, words: Sequence[str]) -> list[Override]:
        return OverridesParser.create(config_loader=self.loader).parse_overrides(list(words))

    def job(self, words: Sequence[str]) -> Job:
        """The run that these overrides describe. Raises Hydra's errors if they cannot be composed."""
        from deepinside.results import folder as results

        config = self.loader.load_sweep_config(self.master, list(words))
        values = {override.get_key_element(): override.value() for override in self.parsed(words)}
        overrides = {key: value for key, value in values.items() if results.decides(key)}
        names = (str(config.name), str(OmegaConf.select(config, "network.name")))
        root = Path(config.runtime.results)
        with open_dict(config):
            del config["hydra"]
        try:
            made: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            folder = results.folder_of(made)
        except (DeepInsideError, OmegaConfBaseException):
            folder = None  # the run itself reports why
        return Job(tuple(words), overrides, root, folder, names)

    def finalise(self, jobs: Sequence[Job], answers: Sequence[Answer | None], failure: BaseException | None) -> None:
        """Write the records and refresh the report. Raises DeepInsideError if any run is not done."""
        from deepinside.console.tables import SCREEN

        runs = list(settled(jobs, answers))
        loud = self.master.runtime.verbosity != "quiet"
        folders = [write_record(jobs[0].root, part) for part in sweeps_of(jobs, runs)]
        with suppress(OSError):
            Path(self.master.hydra.sweep.dir).rmdir()  # launchers create it; some leave logs in it
        for folder, count in folders if loud else ():
            SCREEN.print(f"{count} run{'s' * (count != 1)}: {folder}", markup=False)
        if self.master.runtime.report:
            from deepinside.html_report import refresh

            refresh(jobs[0].root)
            if loud:
                SCREEN.print(f"report: {jobs[0].root / 'index.html'}", markup=False)
        check_done(runs, answers, failure, [folder for folder, _ in folders])


def sweeps_of(jobs: Sequence[Job], runs: Sequence["Run"]) -> list[tuple[list[Job], list["Run"]]]:
    """The jobs and runs of each experiment; of several experiments only those that have several runs.

    Experiments next to each other have no axis in common, so a table and a plot of them would show nothing.
    """
    experiments = dict.fromkeys(job.names[0] for job in jobs)
    parts = [
        ([job for job in jobs if job.names[0] == name], [run for run in runs if run.experiment == name])
        for name in experiments
    ]
    return parts if len(parts) == 1 else [part for part in parts if len(part[1]) > 1]


def write_record(root: Path, part: tuple[Sequence[Job], Sequence["Run"]]) -> tuple[Path, int]:
    """Write the record of one experiment's runs; its folder, and the number of runs."""
    from deepinside.sweeps import record

    jobs, runs = part
    command = shlex.join(["deepinside", *sys.argv[1:]])
    return record.write(root, record.Sweep(name_of(jobs), command, list(runs))), len(runs)


def check_done(
    runs: Sequence["Run"], answers: Sequence[Answer | None], failure: BaseException | None, folders: Sequence[Path]
) -> None:
    """Raise the failure if the user interrupted, else DeepInsideError if any run is not done or left out photos."""
    if isinstance(failure, KeyboardInterrupt):
        raise failure
    undone = [run for run in runs if run.status != "done"]
    one = len({run.experiment for run in runs}) == 1  # else some have no record
    names = ", ".join(dict.fromkeys(run.experiment for run in undone))
    where = f"{folders[0] / 'sweep.csv'} says which" if one else f"they are of {names}"
    if failure is not None:
        reason = textwrap.shorten(str(failure) or "no reason given", 160, placeholder="…")
        raise DeepInsideError(
            f"the launcher stopped ({type(failure).__name__}: {reason}); {len(undone)} of {len(runs)} runs "
            f"are not done, {where}; the same command finishes them."
        )
    if undone:
        why = " and why" if one else ", with their reasons above"
        raise DeepInsideError(f"{len(undone)} of {len(runs)} runs were not done; {where}{why}.")
    if not all(found and found["complete"] for found in answers):
        raise DeepInsideError("all runs were done, but some left out photos that could not be read (named above).")


def position_words(jobs: Sequence[Job]) -> list[str]:
    """For each run the override that tells it its position, as in `[7/21] fig2_saliency`, and what differs."""
    from deepinside.results import folder as results
    from deepinside.sweeps.runs import distinct

    keys = dict.fromkeys(key for job in jobs for key in job.overrides if key != "experiment")
    varied = [key for key in keys if len(distinct([job.overrides.get(key) for job in jobs])) > 1]
    words = []
    for number, job in enumerate(jobs, 1):
        told = [f"{key}={results.value_text(job.overrides[key])}" for key in varied if key in job.overrides]
        name = " ".join([f"[{number}/{len(jobs)}]", job.names[0], *told])
        words.append(f"++hydra.job.env_set.DEEPINSIDE_RUN={quoted(name.replace('${', '{'))}")  # no interpolation
    return words


def combinations(overrides: Sequence[Override], zipped: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The overrides of every run: the product of all keys' values, of which the `zipped` advance together.

    The last mention of a key counts.
    """
    choices: dict[str, list[str]] = {}
    for override in overrides:
        key, swept = override.get_key_element(), override.is_sweep_override()
        if swept and not override.is_discrete_sweep():
            raise DeepInsideError(f"{override.input_line}: expected values that can be listed, found an interval.")
        values = override.sweep_string_iterator() if swept else ()
        choices[key] = [f"{key}={value}" for value in values] if swept else [str(override.input_line)]
    check_zipped(choices, zipped)
    rows = [list(zip(*(choices[key] for key in zipped), strict=True))] if zipped else []
    rows += [[(word,) for word in words] for key, words in choices.items() if key not in zipped]
    return [tuple(chain.from_iterable(parts)) for parts in product(*rows)]


def check_zipped(choices: Mapping[str, Sequence[str]], zipped: Sequence[str]) -> None:
    """Raise DeepInsideError unless every zipped key is swept, all over the same number of values."""
    counts = {key: len(choices.get(key, ())) for key in zipped}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        found = ", ".join(f"{key} with {count}" for key, count in counts.items())
        raise DeepInsideError(f"hydra.sweeper.zip: expected keys with the same number of values, found {found}.")


def words_of(params: Mapping[str, Any]) -> list[str]:
    """An experiment file's sweep as command-line overrides; a list holds the values of a key."""
    return [f"{key}={','.join(map(plain, value)) if is_list(value) else plain(value)}" for key, value in params.items()]


def is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | ListConfig)


def plain(value: Any) -> str:
    return "null" if value is None else str(value)


def own_params(experiment: str) -> dict[str, Any]:
    """An experiment file's `hydra.sweeper.params`, including those inherited from another experiment."""
    known = catalogue.files("experiment")
    if experiment not in known:
        return {}
    node = catalogue.read(known[experiment])
    params: dict[str, Any] = {}
    for entry in node.get("defaults", []):
        if isinstance(entry, str) and entry != experiment:
            params |= own_params(entry.rpartition("/")[2])
    own = ((node.get("hydra") or {}).get("sweeper") or {}).get("params") or {}
    return params | own


def name_of(jobs: Sequence[Job]) -> str:
    """The sweep's folder name: its experiments and all values, in the command's order."""
    from deepinside.sweeps.record import sweep_name
    from deepinside.sweeps.runs import distinct

    experiments = distinct([job.names[0] for job in jobs])
    keys = dict.fromkeys(key for job in jobs for key in job.overrides if key != "experiment")
    values = {key: distinct([job.overrides[key] for job in jobs if key in job.overrides]) for key in keys}
    return sweep_name("+".join(experiments), values)


def answer(returned: JobReturn) -> Answer:
    """The run's own report, or the launcher's error if the run left none."""
    if returned.status == JobStatus.COMPLETED and returned.return_value is not None:
        found: Answer = returned.return_value
        return found
    reason = " ".join(str(returned._return_value).split())
    return {"status": "missing", "reason": reason, "complete": False}


def settled(jobs: Sequence[Job], answers: Sequence[Answer | None]) -> Iterator["Run"]:
    """One Run per folder: workers that share a data set share a folder and count as one run."""
    by_folder: dict[Any, list[tuple[Job, Answer | None]]] = {}
    for number, (job, said) in enumerate(zip_longest(jobs, answers)):
        by_folder.setdefault(job.folder or number, []).append((job, said))
    for pairs in by_folder.values():
        yield one_run(pairs[0][0], [said for _, said in pairs if said is not None])


def one_run(job: Job, answers: Sequence[Answer]) -> "Run":
    """The outcome of a run, from its report or from its folder."""
    from deepinside.sweeps.record import as_found
    from deepinside.sweeps.runs import Run

    said = next((a for a in answers if a["status"] == "done"), answers[-1] if answers else None)
    found = as_found(job.overrides, job.folder, job.root, job.names)
    if said is None or (said["status"] == "missing" and found.status == "done"):
        return found
    reason, seconds = said.get("reason"), said.get("seconds")
    return Run(
        job.overrides, said.get("folder") or found.folder, *job.names, said["status"], reason, seconds,
        said.get("metrics") or {},
    )  # fmt: skip
