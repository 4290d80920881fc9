"""Registers the project's sweeper and launchers with Hydra.

Hydra finds plugins only in the package `hydra_plugins`, so the classes of this folder get an alias there.
`configs/hydra/` names them in `_target_` and holds their settings. A launcher imports its library only when it is used.
"""

NAMES = "hydra_plugins.deepinside"


def register() -> None:
    """Make each plugin available as `hydra_plugins.deepinside.NAME`."""
    from hydra.core.plugins import Plugins

    # Hydra reloads its own plugins first; subclasses of the old copies would not be recognised
    known = Plugins.instance().class_name_to_class
    from deepinside.sweeps.batched_launcher import BatchedLauncher
    from deepinside.sweeps.ray_launcher import RayLauncher
    from deepinside.sweeps.sweeper import GridSweeper

    known.update({f"{NAMES}.{plugin.__name__}": plugin for plugin in (BatchedLauncher, GridSweeper, RayLauncher)})
