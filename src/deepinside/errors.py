"""The one error the program raises on purpose."""


class DeepInsideError(Exception):
    """What went wrong in one sentence: what was expected, what was found, what to do."""
