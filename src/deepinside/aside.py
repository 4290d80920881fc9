"""What is done beside the work of the main thread."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self


class Aside:
    """One other thread, which does what it is asked to, one after another, within a `with` block.

    At its end all is done; where the block raises, what has not begun is left. `wait` and the end raise what the work
    raised.
    """

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.asked: list[Future[Any]] = []

    def do(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Have `work` called with `arguments` after all that was asked before."""
        self.asked.append(self.thread.submit(work, *arguments))

    def wait(self) -> None:
        """Until all that was asked is done."""
        asked, self.asked = self.asked, []
        for one in asked:
            one.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self.thread.shutdown(cancel_futures=True)
