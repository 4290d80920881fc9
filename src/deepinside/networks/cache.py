"""Where the program keeps what it would else fetch or find out again."""

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "DEEPINSIDE_CACHE"


def cache_folder() -> Path:
    """Where fetched files are kept: `$DEEPINSIDE_CACHE`, else the user's cache folder on this system."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("deepinside")).expanduser()
