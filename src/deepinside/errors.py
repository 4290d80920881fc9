"""The one error the program raises on purpose."""


class DeepInsideError(Exception):
    """What went wrong in one sentence: what was expected, what was found, what to do."""


class UnsuitableSettingError(DeepInsideError):
    """A setting of a technique that does not suit the network: `problem` says why, `key` and `value` what does.

    Its own sentence is for Python; the command line names the words to type instead.
    """

    def __init__(self, problem: str, key: str, value: str | tuple[str, ...]) -> None:
        self.problem, self.key, self.value = problem, key, value
        python = repr(value) if isinstance(value, str) else repr(list(value))
        super().__init__(f"{problem}; set {key}={python}.")

    @property
    def words(self) -> str:
        """The setting as the command line takes it."""
        return f"{self.key}={self.value if isinstance(self.value, str) else '[' + ','.join(self.value) + ']'}"
