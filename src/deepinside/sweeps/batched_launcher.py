"""A launcher that optimises the images of several runs in one batch, then completes each run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from deepinside.errors import DeepInsideError
from deepinside.results import folder as results


class BatchedLauncher(BasicLauncher):
    """Runs that differ only in numbers (λ, seed, class, start) optimise their images in one batch.

    Folders and bytes equal those of Hydra's basic launcher: each run executes as usual, its optimisations already done.
    """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from deepinside.pipeline.finished import known

        undone = [(config, folder) for config, folder in self.runs(job_overrides) if known(config, folder) is None]
        if len(undone) > 1:
            from deepinside.sweeps.batching import optimise_in_batches

            optimise_in_batches(undone)
        found: Sequence[JobReturn] = super().launch(job_overrides, initial_job_idx)
        return found

    def runs(self, job_overrides: Sequence[Sequence[str]]) -> Iterator[tuple[dict[str, Any], Path]]:
        """Every run's configuration and result folder. Skips invalid configurations; the run reports them."""
        assert self.hydra_context is not None and self.config is not None
        for words in job_overrides:
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
            with open_dict(config):
                del config["hydra"]
            try:
                made: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
                yield made, results.folder_of(made)
            except (DeepInsideError, OmegaConfBaseException):
                continue
