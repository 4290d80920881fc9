"""The cache folder for fetched files and verification results."""

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "DEEPINSIDE_CACHE"


def cache_folder() -> Path:
    """`$DEEPINSIDE_CACHE`, or the user's cache folder on this system."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("deepinside")).expanduser()
