"""The project's own sweeper and launchers, made known to Hydra.

Hydra takes plugins from the package `hydra_plugins` only. These live here, where the project's other code is, and are
given a name there; `configs/hydra/` names them in `_target_` and holds their settings. None of them imports the
library it needs before it is chosen.
"""

NAMES = "hydra_plugins.deepinside"


def register() -> None:
    """Let Hydra find each plugin under its name in `hydra_plugins.deepinside`."""
    from hydra.core.plugins import Plugins

    # Hydra reads its own plugins first: it imports them anew, and a class made of the older copies would not be one
    known = Plugins.instance().class_name_to_class
    from deepinside.sweeps.batched_launcher import BatchedLauncher
    from deepinside.sweeps.ray_launcher import RayLauncher
    from deepinside.sweeps.sweeper import GridSweeper

    known.update({f"{NAMES}.{plugin.__name__}": plugin for plugin in (BatchedLauncher, GridSweeper, RayLauncher)})
