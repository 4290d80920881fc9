"""What another thread does, and what becomes of its errors."""

import threading
import time

import pytest

from deepinside.pipeline.background_writer import BackgroundWriter


def test_work_is_done_in_order_in_one_other_thread() -> None:
    done: list[tuple[int, int]] = []

    def work(number: int, seconds: float) -> None:
        time.sleep(seconds)
        done.append((number, threading.get_ident()))

    with BackgroundWriter() as aside:
        aside.do(work, 0, 0.05)
        aside.do(work, 1, 0.0)
        assert done == []
        aside.wait()
        assert [number for number, _ in done] == [0, 1]
        aside.do(work, 2, 0.05)
    assert [number for number, _ in done] == [0, 1, 2]
    assert len({thread for _, thread in done} - {threading.get_ident()}) == 1


def test_what_it_raises_is_raised_by_whoever_waits() -> None:
    with pytest.raises(ZeroDivisionError), BackgroundWriter() as aside:
        aside.do(divmod, 1, 0)
    with BackgroundWriter() as aside:
        aside.do(divmod, 1, 0)
        with pytest.raises(ZeroDivisionError):
            aside.wait()


def test_where_the_block_raises_what_was_begun_is_ended_and_no_more() -> None:
    begun, done = threading.Event(), list[str]()

    def slow() -> None:
        begun.set()
        time.sleep(0.05)
        done.append("begun")

    def fail() -> None:
        with BackgroundWriter() as aside:
            aside.do(slow)
            aside.do(done.append, "not begun")
            begun.wait()
            raise ValueError("the block")

    with pytest.raises(ValueError, match="the block"):
        fail()
    assert done == ["begun"]
