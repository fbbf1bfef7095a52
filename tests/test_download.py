"""A download goes on where it stopped, is checked before it is used, and without a network the way out is said."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data.download import ARCHIVES, Archive, fetch, unpack
from data.source import DataError
from engine.exits import DONE, USER_ERROR
from tests.conftest import call


def zipped(method: int = zipfile.ZIP_STORED, **files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


CONTENT = zipped(**{"val2017__1.jpg": b"one", "val2017__2.jpg": b"two" * 1000})


class Server:
    """Serves CONTENT and remembers from where it was asked; the first `broken` answers stop in the middle."""

    def __init__(self, ranges: bool = True, broken: int = 0):
        self.asked: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range", "bytes=0-")
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if ranges else 0
                outer.asked.append(start)
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(CONTENT) - start))
                self.end_headers()
                stop = len(CONTENT) // 2 if len(outer.asked) <= broken else len(CONTENT)
                self.wfile.write(CONTENT[start:stop])

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/val2017.zip"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def archive(self, content: bytes = CONTENT) -> Archive:
        return Archive(self.url, len(content), hashlib.md5(content).hexdigest())


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()


def test_an_archive_comes_whole_and_only_once(server: Server, tmp_path: Path) -> None:
    seen = []
    path = fetch(server.archive(), tmp_path / "new", seen.append)
    assert path.read_bytes() == CONTENT
    assert sum(seen) == len(CONTENT)
    assert fetch(server.archive(), tmp_path / "new") == path
    assert server.asked == [0]


def test_a_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    server = Server(broken=1)
    with pytest.raises(DataError, match="start again to go on"):
        fetch(server.archive(), tmp_path)
    half = (tmp_path / "val2017.zip.part").stat().st_size
    assert 0 < half < len(CONTENT)
    assert fetch(server.archive(), tmp_path).read_bytes() == CONTENT
    assert server.asked == [0, half]


def test_a_server_that_cannot_go_on_starts_again(tmp_path: Path) -> None:
    server = Server(ranges=False)
    (tmp_path / "val2017.zip.part").write_bytes(b"garbage")
    assert fetch(server.archive(), tmp_path).read_bytes() == CONTENT


def test_another_content_is_refused_and_named(server: Server, tmp_path: Path) -> None:
    wanted = Archive(server.url, len(CONTENT), "0" * 32)
    with pytest.raises(DataError, match=r"val2017.zip.part: is not val2017.zip as released .* MD5 0000"):
        fetch(wanted, tmp_path)
    assert not (tmp_path / "val2017.zip").exists()


def test_without_a_network_the_file_and_its_place_are_said(tmp_path: Path) -> None:
    dead = Archive("http://127.0.0.1:9/val2017.zip", 815, "ab")
    with pytest.raises(DataError) as caught:
        fetch(dead, tmp_path)
    assert f"bring val2017.zip (815 bytes) to {tmp_path / 'val2017.zip'}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_was_brought_by_hand_is_checked_and_taken(tmp_path: Path) -> None:
    dead = Archive("http://127.0.0.1:9/val2017.zip", len(CONTENT), hashlib.md5(CONTENT).hexdigest())
    (tmp_path / "val2017.zip").write_bytes(CONTENT)
    assert fetch(dead, tmp_path) == tmp_path / "val2017.zip"
    (tmp_path / "val2017.zip").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(DataError, match="delete it and start again"):
        fetch(dead, tmp_path)


def test_unpacking_goes_on_and_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(CONTENT)
    (tmp_path / "out/val2017").mkdir(parents=True)
    (tmp_path / "out/val2017/1.jpg").write_bytes(b"one")
    stamp = (tmp_path / "out/val2017/1.jpg").stat().st_mtime_ns
    assert unpack(tmp_path / "a.zip", tmp_path / "out") == 2
    assert (tmp_path / "out/val2017/2.jpg").read_bytes() == b"two" * 1000
    assert (tmp_path / "out/val2017/1.jpg").stat().st_mtime_ns == stamp
    (tmp_path / "out/val2017/1.jpg").write_bytes(b"somebody's own")
    with pytest.raises(DataError, match="1.jpg: is in the way"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out/val2017/1.jpg").read_bytes() == b"somebody's own"


def test_an_answer_that_is_not_the_archive_leaves_nothing(server: Server, tmp_path: Path) -> None:
    wanted = Archive(server.url, 10 * len(CONTENT))
    with pytest.raises(DataError, match=f"answers with {len(CONTENT)} bytes, which is not the archive"):
        fetch(wanted, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_hostile_archive_is_refused(tmp_path: Path) -> None:
    spoilt = bytearray(CONTENT)
    spoilt[spoilt.index(b"two")] ^= 1
    (tmp_path / "a.zip").write_bytes(spoilt)
    with pytest.raises(DataError, match="a.zip: is damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out/val2017/2.jpg").exists()
    for place in range(45, 60):  # in the middle of what is compressed
        spoilt = bytearray(zipped(zipfile.ZIP_DEFLATED, text__a=bytes(range(256)) * 9))
        spoilt[place] ^= 0xFF
        (tmp_path / "b.zip").write_bytes(spoilt)
        with pytest.raises(DataError, match="b.zip: is damaged"):
            unpack(tmp_path / "b.zip", tmp_path / f"out{place}")
    (tmp_path / "a.zip").write_bytes(zipped(**{"..__..__escaped.txt": b"x"}))
    with pytest.raises(DataError, match="leads out of"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_the_command_fetches_unpacks_and_knows_what_is_there(
    server: Server, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(ARCHIVES, "coco-val2017", server.archive())
    for _ in range(2):
        assert call("prepare", "download", "coco-val2017", tmp_path / "COCO") == DONE
    assert (tmp_path / "COCO/val2017/1.jpg").read_bytes() == b"one"
    assert not (tmp_path / "COCO/val2017.zip").exists()
    assert server.asked == [0]
    assert call("prepare", "download", "list") == DONE
    assert "coco-train2017            19.34 GB" in capsys.readouterr().out
    assert call("prepare", "download", "coco-2017", tmp_path) == USER_ERROR
    assert call("prepare", "download", "coco-val2017") == USER_ERROR
