"""Photos in a zip or tar are those of the folder; nothing an archive holds gets out of it."""

import gc
import http.server
import io
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from shots import put, run, sources, stems

from deepinside.errors import DeepInsideError
from deepinside.images import archives
from deepinside.images.settings import ImageSettings
from deepinside.images.sources import listed

NAMES = ("b.jpg", "a.PNG", "a-b/z.jpg", "a/cat.jpg", "A/cat.png", "a/far/cat.jpg", ".hidden.jpg", ".cache/d.jpg")


def photo(level: int = 128) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (12, 10), (level, level, level)).save(out, format="PNG")
    return out.getvalue()


def as_zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(folder))


def as_tar(mode: str) -> Callable[[Path, Path], None]:
    def make(folder: Path, target: Path) -> None:
        with tarfile.open(target, mode) as archive:  # type: ignore[call-overload]
            archive.add(folder, ".")

    return make


KINDS = {
    ".zip": as_zip, ".tar": as_tar("w"), ".tar.gz": as_tar("w:gz"), ".tgz": as_tar("w:gz"),
    ".tar.bz2": as_tar("w:bz2"), ".TAR.XZ": as_tar("w:xz"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for level, name in enumerate(NAMES):
        put(tmp_path / "photos" / name, level=20 * level)
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    (tmp_path / "photos" / "a" / "broken.jpg").write_bytes(b"no photo")
    (tmp_path / "photos" / "a" / "empty.jpg").write_bytes(b"")
    return tmp_path / "photos"


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("recursive", [False, True])
def test_an_archive_is_the_folder_it_holds(folder: Path, suffix: str, recursive: bool) -> None:
    archive = folder.with_name(f"photos{suffix}")
    KINDS[suffix](folder, archive)
    settings = {"recursive": recursive, "labels": "folder"}
    ways = [ImageSettings(root=str(root), **settings) for root in (folder, archive)]  # type: ignore[arg-type]
    plain, packed = ([(s.path, s.stem, s.name, s.label) for s in listed(way)] for way in ways)
    assert packed == plain
    assert len(plain) == (8 if recursive else 2)
    (loose, skipped), (held, also) = (run(way) for way in ways)
    assert [one.name for one in also] == [one.name for one in skipped]
    for left, right in zip(loose, held, strict=True):
        assert torch.equal(left.pixels, right.pixels)
        assert [p.sha256 for p in left.photos] == [p.sha256 for p in right.photos]
        assert [p.number for p in left.photos] == [p.number for p in right.photos]
    if recursive:
        assert {one.reason for one in also} >= {"it is empty (0 bytes)"}


def test_annotations_and_label_files_find_photos_in_an_archive(folder: Path, tmp_path: Path) -> None:
    KINDS[".zip"](folder, tmp_path / "photos.zip")
    (tmp_path / "boxes.txt").write_text("cat.jpg\tn1\t0\t0\t5\t4\n")
    (tmp_path / "labels.txt").write_text("a/cat.jpg tabby\na/far/cat.jpg persian\n")
    settings = {"annotations": str(tmp_path / "boxes.txt"), "labels": str(tmp_path / "labels.txt"), "recursive": True}
    packed, plain = (
        [(s.label, s.objects) for s in sources(root=str(tmp_path / name), **settings)]
        for name in ("photos.zip", "photos")
    )
    assert packed == plain
    assert [label for label, _ in packed if label] == ["n1", "tabby", "persian"]


def test_many_threads_read_one_archive(tmp_path: Path) -> None:
    contents = {f"{index:03}.png": bytes([index]) * (1000 + index) for index in range(200)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in contents.items():
            zipped.writestr(name, data)
    with tarfile.open(tmp_path / "a.tar", "w") as tarred:
        for name, data in contents.items():
            add(tarred, name, data)
    for kind in ("a.zip", "a.tar"):
        members = archives.members(tmp_path / kind) * 3
        with ThreadPoolExecutor(8) as pool:
            for member, data in zip(members, pool.map(archives.Member.read, members), strict=True):
                assert data == contents[member.name]


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(data))


# ---- hostile ---------------------------------------------------------------------------------------------------------

HOSTILE = ("../../out.png", "/etc/abs.png", "a/../../b.png", "C:\\x.png", "line\nbreak.png", "same.png", "same.png")


def hostile_zip(target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for level, name in enumerate(HOSTILE):
            if name in archive.namelist():
                with pytest.warns(UserWarning, match="Duplicate"):
                    archive.writestr(name, photo(level))
            else:
                archive.writestr(name, photo(level))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")


def hostile_tar(target: Path) -> None:
    with tarfile.open(target, "w") as archive:
        for level, name in enumerate(HOSTILE):
            add(archive, name, photo(level))
        add(archive, "link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "hard.png", type=tarfile.LNKTYPE, linkname="/etc/passwd")
        add(archive, "pipe.png", type=tarfile.FIFOTYPE)
        add(archive, "device.png", type=tarfile.CHRTYPE)
        add(archive, "folder.png", type=tarfile.DIRTYPE)


@pytest.mark.parametrize("make", [hostile_zip, hostile_tar])
def test_names_are_only_names(tmp_path: Path, make: Callable[[Path], None]) -> None:
    inside = tmp_path / "deep" / "deeper"
    inside.mkdir(parents=True)
    target = inside / f"a.{make.__name__[-3:]}"
    make(target)
    (batch,), skipped = run(ImageSettings(root=str(target), recursive=True))
    assert not skipped
    names = {p.stem: round(float(p.pixels[0, 0, 0]) + 123) for p in batch.photos}
    assert sorted(names.values()) == list(range(len(HOSTILE)))
    assert {"out", "abs", "b", "line_break", "same-png", "same-png-2"} < set(names)
    assert names["same-png"] == 5 and names["same-png-2"] == 6
    assert all(set(stem).isdisjoint("/\\:\n") for stem in names)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["deep", "deeper", target.name])


def test_a_hard_link_in_a_tar_is_the_file_it_names(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "one.png", photo(7))
        add(archive, "two.png", type=tarfile.LNKTYPE, linkname="one.png")
    (batch,), _ = run(ImageSettings(root=str(tmp_path / "a.tar")))
    assert [p.stem for p in batch.photos] == ["one", "two"]
    assert batch.photos[0].sha256 == batch.photos[1].sha256


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "a.zip"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.png", photo())
    data = bytearray(target.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags in both headers
        data[data.index(magic) + offset] |= 1
    target.write_bytes(bytes(data))
    with pytest.raises(DeepInsideError, match="encrypted"):
        stems(root=str(target))


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("damage", ["half", "nonsense", "empty"])
def test_a_damaged_archive_is_one_sentence(folder: Path, suffix: str, damage: str) -> None:
    target = folder.with_name(f"a{suffix}")
    KINDS[suffix](folder, target)
    whole = target.read_bytes()
    # tar pads with many zeros, so that half of a small one may be whole
    cut = 700 if suffix == ".tar" else len(whole) // 2
    target.write_bytes({"half": whole[:cut], "nonsense": b"no archive" * 100, "empty": b""}[damage])
    with pytest.raises(DeepInsideError) as caught:
        stems(root=str(target), recursive=True)
    assert str(target) in str(caught.value) and "\n" not in str(caught.value)


def test_a_tar_with_a_damaged_header_in_the_middle_is_not_taken_for_a_shorter_one(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "one.png", photo(1))
        add(archive, "two.png", photo(2))
    data = bytearray((tmp_path / "a.tar").read_bytes())
    data[data.index(b"two.png")] ^= 1
    (tmp_path / "a.tar").write_bytes(bytes(data))
    with pytest.raises(DeepInsideError, match="header at byte 1024 is damaged"):
        stems(root=str(tmp_path / "a.tar"))


def test_a_damaged_photo_in_a_zip_is_skipped_and_the_others_are_done(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.png", b"unlike" + photo(1))
        archive.writestr("two.png", photo(2))
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"unlike", b"other!", 1))
    (batch,), skipped = run(ImageSettings(root=str(tmp_path / "a.zip")))
    assert [p.stem for p in batch.photos] == ["two"]
    assert [one.name for one in skipped] == ["one.png"]
    assert "Bad CRC-32" in skipped[0].reason


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", b"\0" * 3_000_000)
        archive.writestr("photo.png", photo())
    with tarfile.open(tmp_path / "b.tar", "w") as tarred:
        add(tarred, "bomb.png", b"\0" * 3_000_000)
        add(tarred, "photo.png", photo())
    monkeypatch.setattr(archives, "MAX_BYTES", 2_000_000)
    for name in ("a.zip", "b.tar"):
        _, skipped = run(ImageSettings(root=str(tmp_path / name)))
        assert [(one.name, one.reason) for one in skipped] == [
            ("bomb.png", "it has 3000000 bytes, more than the limit of 2000000")
        ]


def test_a_compressed_tar_may_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        add(archive, "bomb.png", b"\0" * 5_000_000)
    usage = archives.shutil.disk_usage(tmp_path)._replace(free=4 << 20)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DeepInsideError, match="more than 2 MiB, half of what is free"):
        stems(root=str(tmp_path / "a.tar.gz"))


def test_a_compressed_tar_is_decompressed_once_into_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        add(archive, "a.png", photo())
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(archives.tempfile, "tempdir", str(place))
    opened = []
    kept = archives._copied
    monkeypatch.setattr(archives, "_copied", lambda *given: (opened.append(given), kept(*given))[1])
    for _ in range(3):
        assert stems(root=str(tmp_path / "a.tgz")) == ["a"]
    assert len(opened) == 1
    assert not list(place.iterdir())


def test_an_archive_that_has_changed_is_opened_anew(tmp_path: Path) -> None:
    target = tmp_path / "a.zip"
    for names in (("a.png",), ("b.png", "c.png")):
        with zipfile.ZipFile(target, "w") as archive:
            for name in names:
                archive.writestr(name, photo())
        assert stems(root=str(target)) == [Path(name).stem for name in names]


def test_an_archive_without_photos_says_what_to_do(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("deep/a.png", photo())
        archive.writestr("__MACOSX/._a.png", photo())
    with pytest.raises(DeepInsideError, match=r"The archive .*a\.zip has no photos.*images\.recursive=true"):
        stems(root=str(tmp_path / "a.zip"))
    assert stems(root=str(tmp_path / "a.zip"), recursive=True) == ["a"]


def test_reading_leaves_no_thread_and_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.tempfile, "tempdir", str(tmp_path))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        add(archive, "a.png", photo())
    before = threading.active_count()
    run(ImageSettings(root=str(tmp_path / "a.tar.gz")))
    assert threading.active_count() == before
    archives._opened.cache_clear()
    gc.collect()
    if Path("/proc/self/fd").is_dir():
        assert not [fd for fd in Path("/proc/self/fd").iterdir() if fd.exists() and str(tmp_path) in str(fd.readlink())]


# ---- behind a URL ----------------------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """The address of the folder above the photos, served by a plain server that knows no ranges."""
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder.parent)))
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()
    thread.join()


@pytest.fixture
def memory(folder: Path) -> Iterator[str]:
    """The same behind fsspec's interface for any store of objects, as s3 and gs are."""
    import fsspec

    files = fsspec.filesystem("memory")
    for path in folder.parent.rglob("*"):
        if path.is_file():
            files.pipe_file(f"/bucket/{path.relative_to(folder.parent).as_posix()}", path.read_bytes())
    yield "memory://bucket"
    files.rm("/bucket", recursive=True)


def seen(root: str) -> list[tuple[str, str, str | None, str]]:
    found, _ = run(ImageSettings(root=root, recursive=True, labels="folder"))
    names = {source.stem: source.name for source in sources(root=root, recursive=True, labels="folder")}
    return [(photo.stem, names[photo.stem], photo.label, photo.sha256) for each in found for photo in each.photos]


@pytest.mark.parametrize("way", ["server", "memory"])
def test_a_url_is_the_folder_or_the_archive_it_leads_to(folder: Path, way: str, request: pytest.FixtureRequest) -> None:
    for suffix, make in KINDS.items():
        make(folder, folder.with_name(f"photos{suffix}"))
    base, plain = request.getfixturevalue(way), seen(str(folder))
    assert len(plain) == 6
    for place in ("photos", "photos/", *(f"photos{suffix}" for suffix in KINDS)):
        assert seen(f"{base}/{place}") == plain, place
    (one,) = seen(f"{base}/photos/a/cat.jpg")
    assert one[1:3] == ("cat.jpg", "a")
    assert len(sources(root=f"{base}/photos")) == 2


def test_a_glob_behind_a_url(memory: str) -> None:
    assert stems(root=f"{memory}/photos/*.jpg") == ["b"]
    assert len(stems(root=f"{memory}/photos/**/*.jpg")) == 6


@pytest.mark.parametrize("way", ["server", "memory"])
def test_a_list_and_a_label_file_behind_a_url(folder: Path, way: str, request: pytest.FixtureRequest) -> None:
    (folder / "list.txt").write_text("# three photos\na/cat.jpg\n\na.PNG\na-b/z.jpg\n")
    (folder / "labels.csv").write_bytes("cat,tench\nz,Kühe\n".encode("latin-1"))
    base = request.getfixturevalue(way)
    local = sources(root=str(folder / "list.txt"), labels=str(folder / "labels.csv"))
    for labels in (f"{base}/photos/labels.csv", str(folder / "labels.csv")):
        found = sources(root=f"{base}/photos/list.txt", labels=labels)
        assert [(one.stem, one.name, one.label) for one in found] == [(one.stem, one.name, one.label) for one in local]
        assert [one.read() for one in found] == [one.read() for one in local]
    assert [one.label for one in local] == ["tench", None, "Kühe"]
    for text, said in (("missing.jpg", "missing.jpg"), ("# no photo", "names no photos"), ("http://x/a.jpg", "line 1")):
        (folder / "odd.txt").write_text(text)
        if way == "server":
            with pytest.raises(DeepInsideError, match=said) as caught:
                sources(root=f"{base}/photos/odd.txt")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["root", "labels", "annotations"])
def test_a_url_that_is_not_read_is_one_sentence(folder: Path, server: str, where: str) -> None:
    (folder / "local.txt").write_text("https://example.org/a.jpg")
    settings = {
        "root": {"root": str(folder / "local.txt")},
        "labels": {"root": str(folder), "labels": f"{server}/photos/missing.csv"},
        "annotations": {"root": str(folder), "annotations": f"{server}/photos/boxes.xml"},
    }
    with pytest.raises(DeepInsideError) as caught:
        sources(**settings[where])
    assert "http" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["nothing.zip", "nothing", "nothing.jpg"])
@pytest.mark.parametrize("way", ["server", "memory"])
def test_what_is_not_there_is_one_sentence(way: str, place: str, request: pytest.FixtureRequest) -> None:
    root = f"{request.getfixturevalue(way)}/{place}"
    with pytest.raises(DeepInsideError) as caught:
        run(ImageSettings(root=root))
    assert place in str(caught.value) and "\n" not in str(caught.value)


def test_a_protocol_that_is_missing_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, name, None)
    for protocol, extra in (("s3", "s3"), ("gs", "gs")):
        with pytest.raises(DeepInsideError, match=rf"pip install 'deepinside\[{extra}\]'"):
            sources(root=f"{protocol}://bucket/photos")
    with pytest.raises(DeepInsideError, match="Protocol not known: nosuch"):
        sources(root="nosuch://bucket/photos")
