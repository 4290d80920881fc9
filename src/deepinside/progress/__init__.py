"""Progress of a run: bars or lines on the screen, previews of optimised images, TensorBoard.

Observers change no result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from deepinside.experiment import Experiment
from deepinside.maths.watching import watching
from deepinside.networks.network import Network
from deepinside.progress.board import Board
from deepinside.progress.preview import Preview
from deepinside.progress.screen import Observer, on_screen

__all__ = ["advance", "at", "doing", "shown"]

OBSERVERS: ContextVar[tuple[Observer, ...]] = ContextVar("observers", default=())


@contextmanager
def shown(experiment: Experiment, network: Network, result: Path, unfinished: Path, photos: int = 0) -> Iterator[None]:
    """Show the progress of the block, as `experiment.runtime` configures it.

    `result` is the run's future result folder, which also names it in TensorBoard. `unfinished` is the folder for
    previews. `photos` is the number of photos in total.
    """
    runtime = experiment.runtime
    observers: list[Observer] = []
    if runtime.preview is not None:
        observers.append(Preview(network.input, unfinished, runtime.preview))
    if runtime.tensorboard is not False:
        root = Path(runtime.results, "tensorboard") if runtime.tensorboard is True else Path(runtime.tensorboard)
        observers.append(Board(network.input, root.joinpath(*result.parts[-3:])))
    with on_screen(f"{experiment.name} on {network.name}", runtime.verbosity, photos) as screens:
        observers += screens
        token = OBSERVERS.set(tuple(observers))
        try:
            with watching(*observers):
                yield
        finally:
            OBSERVERS.reset(token)
            for observer in observers:
                observer.close()


def advance(photos: int) -> None:
    """Report that `photos` more photos are done."""
    for observer in OBSERVERS.get():
        observer.advance(photos)


def at(photos: int) -> None:
    """Report that `photos` photos of the run are done in total, by any process."""
    for observer in OBSERVERS.get():
        observer.at(photos)


def doing(words: str) -> None:
    """Report the variant of the technique that is now being computed."""
    for observer in OBSERVERS.get():
        observer.doing(words)
