"""While it runs: bars or lines on the screen, previews of an optimisation's picture, TensorBoard.

Everything here watches and changes no result.
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
    """Show what goes on in the block, as `experiment.runtime` asks for.

    `result` is the folder that the run's result will have, which names it in TensorBoard, too; `unfinished` takes
    previews, while it is there. `photos` are to be seen in all.
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
    """So many photos more are done."""
    for observer in OBSERVERS.get():
        observer.advance(photos)


def at(photos: int) -> None:
    """So many photos of the run are done, by whomever."""
    for observer in OBSERVERS.get():
        observer.at(photos)


def doing(words: str) -> None:
    """What is being computed from now on: the name of a variant of the technique."""
    for observer in OBSERVERS.get():
        observer.doing(words)
