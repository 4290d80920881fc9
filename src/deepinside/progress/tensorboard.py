"""TensorBoard: every term of every optimisation's objective by step, and periodic images."""

from functools import cached_property
from pathlib import Path
from typing import Any

from deepinside.networks.spec import InputConvention
from deepinside.optimisation.callbacks import Step
from deepinside.progress.observer import Observer, Seldom
from deepinside.progress.preview import preview_grid
from deepinside.types import safe_name

MOST = 24
"""Up to this many images get their own curves; larger batches get the mean only."""
SECONDS = 5.0


class TensorBoardWriter(Observer):
    """Writes a TensorBoard event file into `folder`; nothing if the technique optimises nothing."""

    def __init__(self, convention: InputConvention, folder: Path) -> None:
        super().__init__()
        self.convention, self.folder, self.seldom = convention, folder, Seldom(SECONDS)

    @cached_property
    def writer(self) -> Any:
        from tensorboardX import SummaryWriter  # an optional dependency; the settings check for it first

        return SummaryWriter(str(self.folder))

    @property
    def tag(self) -> str:
        return safe_name(f"{self.words or 'optimisation'}_{self.optimisation}")

    def step(self, now: Step) -> None:
        for name, values in now.parts.items():
            self.writer.add_scalar(f"{self.tag}/{name}", values.double().mean().item(), now.number)
            if 1 < len(values) <= MOST:
                for i, value in enumerate(values.tolist()):
                    self.writer.add_scalar(f"{self.tag}_each/{name}/{i}", value, now.number)
        if now.number == now.total or self.seldom.now():
            picture = preview_grid(now.images, self.convention)
            self.writer.add_image(f"{self.tag}/pictures", picture, now.number, dataformats="HWC")

    def close(self) -> None:
        if "writer" in self.__dict__:
            self.writer.close()
