"""A background thread for writing files while the next batch is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self


class BackgroundWriter:
    """Runs submitted calls in order on one background thread, within a `with` block.

    The block's end waits for all calls; if the block raises, pending calls are cancelled. `wait` and the end of the
    block re-raise errors of the calls.
    """

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.pending: list[Future[Any]] = []

    def do(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Submit the call `work(*arguments)`."""
        self.pending.append(self.thread.submit(work, *arguments))

    def wait(self) -> None:
        """Wait for all submitted calls."""
        pending, self.pending = self.pending, []
        for call in pending:
            call.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self.thread.shutdown(cancel_futures=True)
