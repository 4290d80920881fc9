"""Progress of a run: bars or lines on the screen, previews of optimised images, TensorBoard.

Observers change no result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from deepinside.experiment.schema import Experiment
from deepinside.networks.network import Network
from deepinside.optimisation.callbacks import using_callback
from deepinside.progress.preview import Preview
from deepinside.progress.screen import Observer, on_screen
from deepinside.progress.tensorboard import TensorBoardWriter

__all__ = ["advance", "set_position", "set_variant", "show_progress"]

OBSERVERS: ContextVar[tuple[Observer, ...]] = ContextVar("observers", default=())


@contextmanager
def show_progress(
    experiment: Experiment, network: Network, result: Path, unfinished: Path, photos: int = 0
) -> Iterator[None]:
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
        observers.append(TensorBoardWriter(network.input, root.joinpath(*result.parts[-3:])))
    with on_screen(f"{experiment.name} on {network.name}", runtime.verbosity, photos) as screens:
        observers += screens
        token = OBSERVERS.set(tuple(observers))
        try:
            with using_callback(*observers):
                yield
        finally:
            OBSERVERS.reset(token)
            for observer in observers:
                observer.close()


def advance(photos: int) -> None:
    """Report that `photos` more photos are done."""
    for observer in OBSERVERS.get():
        observer.advance(photos)


def set_position(photos: int) -> None:
    """Report that `photos` photos of the run are done in total, by any process."""
    for observer in OBSERVERS.get():
        observer.at(photos)


def set_variant(words: str) -> None:
    """Report the variant of the technique that is now being computed."""
    for observer in OBSERVERS.get():
        observer.doing(words)
