"""Progress on the screen: bars in a terminal, periodic plain lines in a log or pipe."""

import logging
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, Literal, cast

from rich.console import Console, RenderableType
from rich.file_proxy import FileProxy
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from deepinside.optimisation.callbacks import Snapshot, Step
from deepinside.progress.observer import Observer, Seldom, told

__all__ = ["Bars", "Lines", "Observer", "on_screen"]

Verbosity = Literal["quiet", "normal", "verbose"]
OFTEN = 0.1
"""Seconds between reads of an optimisation's numbers; each read waits for the device."""
SELDOM, SWEPT = 10.0, 60.0
"""Seconds between lines in a log, of a single run and of a run of a sweep."""
BUSY: list[str] = []
"""The run that owns the screen; runs nested in it show nothing."""


@contextmanager
def on_screen(name: str, verbosity: Verbosity, photos: int) -> Iterator[list[Observer]]:
    """The observers that show the run `name`: none if quiet, or if another run owns the screen."""
    if verbosity == "quiet" or BUSY:
        yield []
        return
    console = Console(stderr=True, highlight=False, emoji=False)
    BUSY.append(name)
    try:
        with ExitStack() as stack:
            if has_bars(console):
                yield [stack.enter_context(bars(console, name, photos))]
            else:
                yield [Lines(console, name, photos, every_optimisation=verbosity == "verbose")]
    finally:
        BUSY.remove(name)


def has_bars(console: Console) -> bool:
    """Whether this is a full terminal that belongs to this process alone."""
    alone = multiprocessing.current_process().name == "MainProcess"
    return console.is_terminal and not console.is_dumb_terminal and os.environ.get("TERM") != "dumb" and alone


# ---- bars ----


class RateColumn(ProgressColumn):
    """Photos or steps per second over the last half minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g}/s" if speed else "", style="progress.data.speed")


class Named(Progress):
    """Progress bars under a title; they disappear when done."""

    def __init__(self, name: str, *columns: ProgressColumn, console: Console) -> None:
        self.name = name
        super().__init__(*columns, console=console, transient=True, refresh_per_second=8)

    def get_renderables(self) -> Iterator[RenderableType]:
        yield Text(self.name, style="bold")
        yield self.make_tasks_table(self.tasks)


class Bars(Observer):
    """One bar for photos, if any, and one for the steps of the current optimisation."""

    def __init__(self, progress: Progress, photos: int) -> None:
        super().__init__(photos)
        self.progress, self.often = progress, Seldom(OFTEN, immediately=True)
        self.photos = progress.add_task("photos", total=photos or None, said="", visible=photos > 0)
        self.steps = progress.add_task("", total=None, said="", visible=False)

    def at(self, photos: int) -> None:
        super().at(photos)
        self.progress.update(self.photos, completed=photos)

    def restore(self) -> Snapshot | None:
        super().restore()
        self.progress.reset(self.steps, description=self.title, total=None, visible=True, said="")
        return None

    def step(self, now: Step) -> None:
        if now.number == now.total or self.often.now():
            self.progress.update(self.steps, completed=now.number, total=now.total, said=told(now.parts))


@contextmanager
def bars(console: Console, name: str, photos: int) -> Iterator[Bars]:
    """Bars that disappear when the run ends; log messages appear above them."""
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), MofNCompleteColumn(),
        TextColumn("{task.fields[said]}", markup=False), RateColumn(), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Named(name, *columns, console=console) as progress, above(console):
        yield Bars(progress, photos)


@contextmanager
def above(console: Console) -> Iterator[None]:
    """Print log messages of the block above the bars."""
    changed: list[tuple[logging.StreamHandler[Any], Any]] = []
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler and handler.stream.isatty():
            before = handler.setStream(cast(IO[str], FileProxy(console, handler.stream)))
            changed.append((handler, before))
    try:
        yield
    finally:
        for handler, before in changed:
            handler.setStream(before)


# ---- lines ----


class Lines(Observer):
    """At most one line every ten seconds, in a sweep every minute, without escape codes.

    `every_optimisation` adds one per optimisation.
    """

    def __init__(self, console: Console, name: str, photos: int, *, every_optimisation: bool = False) -> None:
        super().__init__(photos)
        self.file, self.name, self.every_optimisation = console.file, name, every_optimisation
        interval = SWEPT if "DEEPINSIDE_RUN" in os.environ else SELDOM
        self.seldom, self.optimisation_started = Seldom(interval), time.monotonic()
        self.before: int | None = None
        self.first = -1

    def at(self, photos: int) -> None:
        super().at(photos)
        self.before = photos if self.before is None else self.before  # done by an earlier process
        if self.total and self.seldom.now():
            rate = pace(photos - (self.before or 0), self.total - photos, self.started)
            self.say(f"{photos} of {self.total} photos", *rate)

    def restore(self) -> Snapshot | None:
        super().restore()
        self.optimisation_started, self.first = time.monotonic(), -1
        return None

    def step(self, now: Step) -> None:
        if self.first < 0:
            self.first = now.number - 1  # an earlier process may have done the first steps
        over = now.number == now.total and self.every_optimisation
        if over or self.seldom.now():
            rate = pace(now.number - self.first, now.total - now.number, self.optimisation_started)
            self.say(f"{self.title}: step {now.number} of {now.total}", told(now.parts), *rate)

    def say(self, *words: str) -> None:
        print(f"{self.name}: {', '.join(filter(None, words))}", file=self.file, flush=True)


def pace(done: int, left: int, since: float) -> tuple[str, ...]:
    """The speed and the remaining time, as words."""
    seconds = time.monotonic() - since
    if done <= 0 or seconds <= 0:
        return ()
    return f"{done / seconds:.3g}/s", f"{duration(left * seconds / done)} left" if left else f"{duration(seconds)}"


def duration(seconds: float) -> str:
    """A duration in words, such as 4 s, 3 min or 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
