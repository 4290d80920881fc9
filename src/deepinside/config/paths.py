"""Where the project's own files lie."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE if (PACKAGE / "configs").is_dir() else PACKAGE.parents[1]
"""The folder that holds `configs`, `conf_models` and `experiments`: the package in a wheel, else the checkout."""
STYLES = PACKAGE / "figures" / "styles"
"""matplotlib style files that ship."""
