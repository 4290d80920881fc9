"""Fetching against a local server that cuts, lies and refuses; nothing waits, as the backoff is a parameter."""

import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deepinside.errors import DeepInsideError
from deepinside.networks.cache import cache_folder
from deepinside.networks.fetch import fetch
from deepinside.networks.spec import InputConvention, NetworkSpec

PAYLOAD = bytes(range(256)) * 4096  # 1 MiB
HALF = len(PAYLOAD) // 2
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()
Answer = Callable[["Handler", int], None]


class Handler(BaseHTTPRequestHandler):
    """Notes the request and answers with the path's next answer; the last one is given for ever."""

    def do_GET(self) -> None:
        server: Server = self.server  # type: ignore[assignment]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        with server.guard:
            server.asked.append((self.path, start))
            answers = server.script[self.path]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self, start)

    def log_message(self, *_: object) -> None:
        pass

    def head(self, code: int, length: int, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, int]] = []
        self.guard = threading.Lock()
        self.released = threading.Event()

    def url(self, path: str, *answers: Answer) -> str:
        self.script[path] = list(answers)
        return f"http://127.0.0.1:{self.server_port}{path}"


def begin(handler: Handler, start: int, data: bytes) -> bytes:
    """The headers for `data` from `start` on, and what is left to send."""
    if start:
        handler.head(206, len(data) - start, Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
    else:
        handler.head(200, len(data))
    return data[start:]


def whole(handler: Handler, start: int) -> None:
    handler.wfile.write(begin(handler, start, PAYLOAD))


def cut(handler: Handler, start: int) -> None:
    handler.wfile.write(begin(handler, start, PAYLOAD)[:HALF])


def cut_of_another(handler: Handler, start: int) -> None:
    handler.wfile.write(begin(handler, start, PAYLOAD[::-1])[:HALF])


def cut_at_once(handler: Handler, start: int) -> None:
    begin(handler, start, PAYLOAD)


def without_range(handler: Handler, start: int) -> None:
    handler.head(200, len(PAYLOAD))
    handler.wfile.write(PAYLOAD)


def wrong(handler: Handler, start: int) -> None:
    handler.wfile.write(begin(handler, start, PAYLOAD[::-1]))


def stall(handler: Handler, start: int) -> None:
    handler.wfile.write(begin(handler, start, PAYLOAD)[:HALF])
    handler.wfile.flush()
    handler.server.released.wait(30)  # type: ignore[attr-defined]


def short(handler: Handler, start: int) -> None:
    handler.head(200, 5)
    handler.wfile.write(b"sorry")


def beyond_the_end(handler: Handler, start: int) -> None:
    handler.head(416, 0, Content_Range=f"bytes */{len(PAYLOAD)}")


def status(code: int, **headers: str) -> Answer:
    return lambda handler, start: handler.head(code, 0, **headers)


@dataclass
class Place:
    """A server, a cache folder, and how to fetch with them."""

    server: Server
    cache: Path
    urls: list[str] = field(default_factory=list)

    def mirror(self, path: str, *answers: Answer) -> str:
        self.urls.append(self.server.url(path, *answers))
        return self.urls[-1]

    def spec(self, *, sha256: str | None = DIGEST, size: int | None = len(PAYLOAD)) -> NetworkSpec:
        return NetworkSpec(
            name="net", file="net.onnx", target="fc8", input=InputConvention(), urls=tuple(self.urls), sha256=sha256,
            bytes=size,
        )  # fmt: skip

    def fetch(self, *, attempts: int = 3, sha256: str | None = DIGEST, size: int | None = len(PAYLOAD)) -> Path:
        return fetch(self.spec(sha256=sha256, size=size), cache=self.cache, attempts=attempts, backoff=0.0)

    @property
    def file(self) -> Path:
        return self.cache / "net.onnx"

    @property
    def starts(self) -> list[int]:
        return [start for _, start in self.server.asked]

    def left_over(self) -> list[str]:
        return sorted(path.name for path in self.cache.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Place(server, tmp_path / "cache")
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_fetched_once(place: Place) -> None:
    place.mirror("/a", whole)
    assert place.fetch() == place.file
    assert place.fetch().read_bytes() == PAYLOAD
    assert place.starts == [0]
    assert place.left_over() == ["net.onnx"]


def test_a_cut_download_is_continued_where_it_ended(place: Place) -> None:
    place.mirror("/a", cut, whole)
    assert place.fetch().read_bytes() == PAYLOAD
    assert place.starts == [0, HALF]


def test_progress_earns_new_tries(place: Place) -> None:
    place.mirror("/a", cut_at_once, cut, cut_at_once, whole)
    assert place.fetch(attempts=2).read_bytes() == PAYLOAD
    assert place.starts == [0, 0, HALF, HALF]


def test_a_server_that_never_sends_anything_is_given_up(place: Place) -> None:
    place.mirror("/a", cut_at_once)
    with pytest.raises(DeepInsideError, match="connection was cut"):
        place.fetch(attempts=3)
    assert len(place.starts) == 3


def test_a_later_run_continues_what_an_earlier_one_left(place: Place) -> None:
    place.mirror("/a", cut, cut_at_once)
    with pytest.raises(DeepInsideError, match=f"{HALF} bytes are kept"):
        place.fetch(attempts=1)
    assert not place.file.exists()
    place.server.url("/a", whole)
    assert place.fetch().read_bytes() == PAYLOAD
    assert place.starts[-1] == HALF


def test_another_mirror_continues_the_first_ones_part(place: Place) -> None:
    place.mirror("/a", cut, status(404))
    place.mirror("/b", whole)
    assert place.fetch().read_bytes() == PAYLOAD
    assert place.server.asked == [("/a", 0), ("/a", HALF), ("/b", HALF)]


def test_a_server_without_range_starts_over(place: Place) -> None:
    place.mirror("/a", cut, without_range)
    assert place.fetch().read_bytes() == PAYLOAD


def test_a_part_longer_than_the_file_is_dropped(place: Place) -> None:
    place.mirror("/a", cut, beyond_the_end, whole)
    assert place.fetch(size=None).read_bytes() == PAYLOAD
    assert place.starts == [0, HALF, 0]


def test_a_missing_file_is_not_asked_for_twice_and_the_next_mirror_serves(place: Place) -> None:
    place.mirror("/a", status(404))
    place.mirror("/b", whole)
    assert place.fetch().read_bytes() == PAYLOAD
    assert place.server.asked == [("/a", 0), ("/b", 0)]


@pytest.mark.parametrize("answer", [status(503), status(503, Retry_After="3600"), status(429), status(500)])
def test_a_passing_fault_is_tried_again(place: Place, answer: Answer) -> None:
    place.mirror("/a", answer, whole)
    assert place.fetch().read_bytes() == PAYLOAD
    assert place.starts == [0, 0]


def test_wrong_bytes_are_removed_and_the_next_mirror_serves(place: Place) -> None:
    place.mirror("/a", wrong)
    place.mirror("/b", whole)
    assert place.fetch().read_bytes() == PAYLOAD
    assert place.server.asked == [("/a", 0), ("/b", 0)]


def test_wrong_bytes_alone_leave_nothing(place: Place) -> None:
    place.mirror("/a", wrong)
    with pytest.raises(DeepInsideError, match=hashlib.sha256(PAYLOAD[::-1]).hexdigest()):
        place.fetch()
    assert place.left_over() == []


def test_a_part_of_something_else_is_dropped_and_fetched_afresh(place: Place) -> None:
    place.mirror("/a", cut_of_another, whole)
    assert place.fetch().read_bytes() == PAYLOAD
    assert place.starts == [0, HALF, 0]


def test_a_file_of_another_size_is_refused_before_it_is_fetched(place: Place) -> None:
    place.mirror("/a", short)
    with pytest.raises(DeepInsideError, match=f"offers 5 bytes, not the {len(PAYLOAD)} declared"):
        place.fetch()
    assert place.left_over() == []


def test_when_all_fail_the_message_says_what_each_said_and_how_to_help_oneself(place: Place) -> None:
    first, second = place.mirror("/a", status(404)), place.mirror("/b", status(503))
    third = "http://127.0.0.1:1/closed"
    place.urls.append(third)
    with pytest.raises(DeepInsideError) as caught:
        place.fetch()
    message = str(caught.value)
    assert f"{first}: 404 Not Found" in message
    assert f"{second}: 503 Service Unavailable" in message
    assert f"{third}: " in message
    assert "refused" in message
    assert f"place it as {place.file} with SHA-256 {DIGEST} ({len(PAYLOAD)} bytes)" in message
    assert "\n" not in message
    assert place.left_over() == []
    assert [path for path, _ in place.server.asked] == ["/a", "/b", "/b", "/b"]


def test_without_an_address_only_the_hand_helps(place: Place) -> None:
    with pytest.raises(DeepInsideError, match=r"no address is known.*place it as"):
        place.fetch()


def test_a_file_placed_by_hand_is_verified_and_never_deleted(place: Place) -> None:
    place.mirror("/a", whole)
    place.cache.mkdir()
    place.file.write_bytes(b"something else")
    with pytest.raises(DeepInsideError) as caught:
        place.fetch()
    assert DIGEST in str(caught.value)
    assert hashlib.sha256(b"something else").hexdigest() in str(caught.value)
    assert place.file.read_bytes() == b"something else"
    assert place.server.asked == []
    place.file.write_bytes(PAYLOAD)
    assert place.fetch() == place.file


def test_without_a_declared_hash_nothing_is_continued_from_another_run(place: Place) -> None:
    place.mirror("/a", cut, cut_at_once)
    with pytest.raises(DeepInsideError, match="cut"):
        place.fetch(attempts=1, sha256=None)
    place.server.url("/a", whole)
    assert place.fetch(sha256=None).read_bytes() == PAYLOAD
    assert place.starts[-1] == 0


def test_two_at_once_fetch_one_file(place: Place) -> None:
    place.mirror("/a", stall, whole)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            place.fetch()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: bool(place.server.asked))
    place.server.released.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert place.starts == [0, HALF]
    assert place.file.read_bytes() == PAYLOAD


def test_a_killed_fetch_leaves_a_part_that_the_next_continues(place: Place) -> None:
    url = place.mirror("/a", stall)
    code = (
        "from deepinside.networks.fetch import fetch\n"
        "from types import SimpleNamespace as S\n"
        f"fetch(S(name='net', file='net.onnx', urls=({url!r},), sha256={DIGEST!r}, md5=None, bytes={len(PAYLOAD)}))"
    )
    environment = {**os.environ, "DEEPINSIDE_CACHE": str(place.cache)}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    part = place.cache / f"net.onnx.{DIGEST[:12]}.incoming" / "part"
    wait_until(lambda: part.exists() and part.stat().st_size > 0)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not place.file.exists()
    place.server.url("/a", whole)
    kept = part.stat().st_size
    assert place.fetch().read_bytes() == PAYLOAD
    assert place.starts == [0, kept]
    assert place.left_over() == ["net.onnx"]


def test_a_cache_that_cannot_be_written_is_named(place: Place) -> None:
    place.mirror("/a", whole)
    place.cache.write_text("a file where the folder should be")
    with pytest.raises(DeepInsideError, match=f"{place.file} cannot be read or written"):
        place.fetch()


def test_a_full_disk_is_no_fault_of_the_mirror(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.mirror("/a", whole)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deepinside.networks.fetch._Download._write", full)
    with pytest.raises(DeepInsideError, match="No space left on device"):
        place.fetch()
    assert len(place.starts) == 1
    assert not place.file.exists()


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEEPINSIDE_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("DEEPINSIDE_CACHE")
    assert "deepinside" in cache_folder().parts


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def test_without_a_connection_there_is_one_sentence_at_once_with_the_path_first(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    spec = replace(place.spec(), urls=("http://127.0.0.1:1/net.onnx", "http://nowhere.invalid/net.onnx"))
    started = time.monotonic()
    with pytest.raises(DeepInsideError) as refused:
        fetch(spec, cache=place.cache)  # with the waits and tries of everyday
    assert time.monotonic() - started < 4
    said = str(refused.value)
    assert said.startswith(f"{place.file}: expected the file of {spec.name} here with SHA-256 {DIGEST}")
    assert "127.0.0.1:1 and nowhere.invalid cannot be reached" in said
    assert "fetch http://127.0.0.1:1/net.onnx where there is a connection" in said
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert place.left_over() == []
