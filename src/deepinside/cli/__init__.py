"""The three commands: `deepinside`, `deepinside-model` and `deepinside-results`."""
