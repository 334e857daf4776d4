"""Songs in a ZIP: unpacked once, and nothing in it is trusted."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep_tui.core import paths
from sidestep_tui.core.errors import DataError, DiskFullError
from sidestep_tui.dataset import archives
from sidestep_tui.dataset.health import doctor
from sidestep_tui.dataset.manifest import Manifest, scan

from .conftest import WriteSong

Pack = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def song(write_song: WriteSong) -> bytes:
    """The bytes of a short song."""
    return write_song("made/song.wav", seconds=0.05).read_bytes()


@pytest.fixture
def pack(tmp_path: Path, song: bytes) -> Pack:
    """Write a ZIP that holds `good.wav` and whatever else is given, by name."""

    def write(
        extra: dict[str, bytes] | None = None, *infos: tuple[zipfile.ZipInfo, bytes], name: str = "s.zip"
    ) -> Path:
        path = tmp_path / name
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as sink:
            warnings.simplefilter("ignore")  # names that stand there twice
            sink.writestr("good.wav", song)
            for key, data in (extra or {}).items():
                sink.writestr(key, data)
            for info, data in infos:
                sink.writestr(info, data)
        return path

    return write


def left_out(found: Manifest) -> dict[str, str]:
    return {item.path.as_posix(): item.code for item in found.skipped}


def everything_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.startswith(".")}


# Once


def test_zip_is_unpacked_once_and_anew_when_it_changes(pack: Pack, song: bytes) -> None:
    archive = pack({"good.txt": b"slow, sad, piano"})
    first = scan(archive)
    assert first.songs[0].caption == "slow, sad, piano"
    before = first.songs[0].audio.stat()
    assert scan(archive).songs[0].audio.stat() == before
    pack({"good.txt": b"fast, glad, piano"})
    second = scan(archive)
    assert second.songs[0].caption == "fast, glad, piano"
    assert second.root != first.root


def test_songs_lie_in_the_cache_and_the_zip_stays_as_it_is(pack: Pack, own_cache: Path) -> None:
    archive = pack()
    before = archive.read_bytes()
    found = scan(archive)
    assert found.root.is_relative_to(own_cache) and archives.is_unpacked(found.root) == archive
    assert archive.read_bytes() == before
    assert archives.is_unpacked(archive.parent) is None and archives.is_unpacked(own_cache) is None


def test_moved_zip_is_the_same_and_its_new_place_is_told(pack: Pack, tmp_path: Path) -> None:
    archive = pack()
    first = scan(archive)
    moved = archive.rename(tmp_path / "elsewhere.zip")
    second = scan(moved)
    assert archives.is_unpacked(second.root) == moved
    shutil.copy2(moved, archive)
    assert scan(archive).root == first.root and archives.is_unpacked(first.root) == archive


def test_unpacking_that_another_process_finished_first_is_no_failure(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack()
    real = archives._extract

    def late(source: zipfile.ZipFile, entries: list[archives.Entry], folder: Path) -> list[archives.LeftOutEntry]:
        left = real(source, entries, folder)
        target = next(iter([folder.parent / folder.name.split(".")[1]]))
        shutil.copytree(folder, target)
        return left

    monkeypatch.setattr(archives, "_extract", late)
    found = scan(archive)
    assert [item.name for item in found.songs] == ["good"]
    assert not [path for path in found.root.parent.iterdir() if path.name.endswith(".tmp")]


def test_killed_unpacking_leaves_nothing_that_is_taken_for_whole(
    pack: Pack, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    archive = pack()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "_copy", killed)
    with pytest.raises(KeyboardInterrupt):
        scan(archive)
    assert list((own_cache / "sidestep-tui/unpacked").iterdir()) == []


def test_remains_of_a_killed_process_are_removed_after_a_day(pack: Pack, own_cache: Path) -> None:
    base = own_cache / "sidestep-tui/unpacked"
    for name, age in (("old", 90_000), ("fresh", 60)):
        path = base / f".s-1.{name}.tmp"
        path.mkdir(parents=True)
        (path / "a.wav").touch()
        os.utime(path, (time.time() - age, time.time() - age))
    scan(pack())
    assert sorted(path.name for path in base.iterdir() if path.name.startswith(".")) == [".s-1.fresh.tmp"]


def test_upper_case_suffix_and_folders_in_the_zip_are_fine(pack: Pack, song: bytes) -> None:
    archive = pack({"set/one/a.wav": song, "set/one/a.txt": b"slow, sad", ".\\set\\two\\a.wav": song}, name="S.ZIP")
    found = scan(archive)
    assert {item.name: item.caption for item in found.songs} == {
        "good": "good",
        "set/one/a": "slow, sad",
        "set/two/a": "a",
    }


def test_names_of_old_packers_are_read(pack: Pack, song: bytes) -> None:
    info = zipfile.ZipInfo("caf\u00e9.wav")
    archive = pack({}, (info, song))
    # The same archive without the flag that says UTF-8.
    data = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            flags = struct.unpack_from("<H", data, at + offset)[0]
            struct.pack_into("<H", data, at + offset, flags & ~0x800)
    archive.write_bytes(bytes(data))
    assert {item.name for item in scan(archive).songs} == {"caf\u00e9", "good"}


# Never outside


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../evil.wav", "link_outside"),
        ("a/../../evil.wav", "link_outside"),
        ("..\\evil.wav", "link_outside"),
        ("/evil.wav", "link_outside"),
        ("//host/evil.wav", "link_outside"),
        ("C:\\evil.wav", "link_outside"),
        ("c:evil.wav", "link_outside"),
        ("evil\x07.wav", "bad_name"),
        ("x" * 300 + ".wav", "bad_name"),
        ("/".join(["d"] * 40) + "/evil.wav", "bad_name"),
    ],
)
def test_unsafe_names_are_left_out_and_named(pack: Pack, song: bytes, tmp_path: Path, name: str, code: str) -> None:
    archive = pack({name: song})
    before = everything_below(tmp_path)
    found = scan(archive)
    assert [item.name for item in found.songs] == ["good"]
    assert list(left_out(found).values()) == [code]
    new = everything_below(tmp_path) - before
    assert {path for path in new if not path.startswith("cache")} == set()
    assert not any("evil" in path for path in new)


def test_links_and_devices_are_left_out(pack: Pack, song: bytes) -> None:
    kinds = {"link.wav": stat.S_IFLNK, "pipe.wav": stat.S_IFIFO, "device.wav": stat.S_IFCHR}
    infos = []
    for name, kind in kinds.items():
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        infos.append((info, b"/etc/passwd"))
    found = scan(pack({}, *infos))
    assert left_out(found) == {"device.wav": "not_a_file", "link.wav": "link_outside", "pipe.wav": "not_a_file"}
    assert not any(path.is_symlink() for path in found.root.rglob("*"))


def test_a_link_cannot_redirect_what_follows_it(pack: Pack, song: bytes, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    info = zipfile.ZipInfo("sub")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    found = scan(pack({}, (info, str(outside).encode()), (zipfile.ZipInfo("sub/a.wav"), song)))
    assert [item.name for item in found.songs] == ["good", "sub/a"]
    assert list(outside.iterdir()) == []


def test_only_songs_and_texts_are_unpacked(pack: Pack, song: bytes) -> None:
    others = ("run.sh", "x.pt", "cover.jpg", ".hidden.wav", "__MACOSX/._a.wav", ".git/a.wav", "noextension")
    texts = ("a.txt", "a.json", "a.lrc", "t.tsv")
    marks = ("drums/run.toml", "drums/events.jsonl", "drums/samples/x.wav")
    found = scan(pack(dict.fromkeys((*others, *texts, *marks), b"{}")))
    assert everything_below(found.root) == {"good.wav", *texts}
    assert found.skipped == ()


def test_other_formats_and_archives_in_the_archive_are_named(pack: Pack) -> None:
    found = scan(pack({"x.m4a": b"x", "inner.zip": b"PK", "more.tar.gz": b"x"}))
    assert left_out(found) == {"x.m4a": "other_format"}
    assert found.warnings == (
        "inner.zip is an archive in the ZIP, which is not opened.",
        "more.tar.gz is an archive in the ZIP, which is not opened.",
    )


# Doubles


def test_of_equal_names_the_last_is_taken_and_of_alike_ones_the_first(pack: Pack, song: bytes) -> None:
    info = zipfile.ZipInfo("good.txt")
    archive = pack({"good.txt": b"old, older", "Good.WAV": song}, (info, b"new, newer"))
    found = scan(archive)
    assert [(item.name, item.caption) for item in found.songs] == [("good", "new, newer")]
    assert left_out(found) == {"Good.WAV": "duplicate"}
    assert "good.txt is in the ZIP more than once; the last was taken." in found.warnings


def test_a_file_that_is_a_folder_too_is_left_out(pack: Pack, song: bytes) -> None:
    found = scan(pack({"x.wav": song, "x.wav/a.wav": song}))
    assert {item.name for item in found.songs} == {"good", "x.wav/a"}
    assert left_out(found)["x.wav"] in ("duplicate", "folder")


# Damage and bombs


def flip(archive: Path, name: str) -> None:
    """Change a byte in the middle of an entry's data."""
    with zipfile.ZipFile(archive) as source:
        info = source.getinfo(name)
    data = bytearray(archive.read_bytes())
    at = info.header_offset + 30 + len(name) + info.compress_size // 2
    data[at] ^= 0xFF
    archive.write_bytes(bytes(data))


def test_damaged_entry_is_left_out_and_the_rest_is_kept(pack: Pack, song: bytes) -> None:
    archive = pack({"bad.wav": song, "fine.wav": song})
    flip(archive, "bad.wav")
    found = scan(archive)
    assert [item.name for item in found.songs] == ["fine", "good"]
    assert left_out(found) == {"bad.wav": "damaged"}
    assert left_out(scan(archive)) == {"bad.wav": "damaged"}  # also when it has been unpacked before


def patched(archive: Path, name: str, offset: int, form: str, value: int) -> None:
    """Change a field of an entry in the table of contents."""
    data = bytearray(archive.read_bytes())
    at = data.find(name.encode(), data.find(b"PK\x01\x02")) - 46
    while data[at : at + 4] != b"PK\x01\x02":
        at = data.find(name.encode(), at + 47) - 46
    struct.pack_into(form, data, at + offset, value)
    archive.write_bytes(bytes(data))


def test_encrypted_entry_and_unknown_packing_are_left_out(pack: Pack, song: bytes) -> None:
    archive = pack({"secret.wav": song, "odd.wav": song})
    patched(archive, "secret.wav", 8, "<H", 1)
    patched(archive, "odd.wav", 10, "<H", 99)
    assert left_out(scan(archive)) == {"odd.wav": "damaged", "secret.wav": "encrypted"}


@pytest.mark.parametrize("claimed", [10, 1_000_000])
def test_entry_of_another_size_than_it_says_is_left_out(pack: Pack, song: bytes, claimed: int) -> None:
    archive = pack({"liar.wav": song})
    patched(archive, "liar.wav", 24, "<I", claimed)
    found = scan(archive)
    assert [item.name for item in found.songs] == ["good"]
    assert left_out(found) == {"liar.wav": "damaged"}


def test_entry_that_grows_like_no_music_is_left_out(pack: Pack, song: bytes) -> None:
    archive = pack({"bomb.wav": song, "bomb.txt": b"x"})
    patched(archive, "bomb.wav", 24, "<I", 3_000_000_000)
    patched(archive, "bomb.txt", 24, "<I", 100_000_000)
    found = scan(archive)
    assert left_out(found) == {"bomb.wav": "bomb"}
    assert found.warnings == ("bomb.txt is too large for what it should hold (95.4 MiB).",)


def test_archive_that_grows_without_end_is_refused(pack: Pack, song: bytes, own_cache: Path) -> None:
    archive = pack({f"{number}.wav": song for number in range(30)})
    for number in range(30):
        patched(archive, f"{number}.wav", 24, "<I", 60 << 20)
    with pytest.raises(DataError, match="would grow from") as caught:
        scan(archive)
    assert caught.value.hint
    assert not list((own_cache / "sidestep-tui").glob("unpacked/*"))


def test_entries_that_lie_over_each_other_are_refused(pack: Pack, song: bytes) -> None:
    archive = pack({"one.wav": song, "two.wav": song})
    patched(archive, "two.wav", 42, "<I", 0)
    with pytest.raises(DataError, match="lie over each other"):
        scan(archive)


def test_listing_that_is_too_long_is_refused_before_it_is_read(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_LARGEST_LISTING", 20)
    with pytest.raises(DataError, match="lists too much"):
        scan(pack())


def test_too_many_files_are_refused(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_FILES", 2)
    with pytest.raises(DataError, match="holds 3 files"):
        scan(pack({"a.txt": b"", "b.txt": b""}))


def test_full_disk_is_said_before_anything_is_unpacked(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(DiskFullError, match="no room") as caught:
        scan(pack())
    assert "256" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"no zip at all" * 10, b"PK\x05\x06" + b"\x00" * 18, b"PK\x05\x06\x00"])
def test_what_is_no_zip_is_refused_with_a_hint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.zip") as caught:
        scan(path)
    assert caught.value.hint


def test_half_a_zip_is_refused(pack: Pack) -> None:
    archive = pack()
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(DataError, match="not a readable ZIP"):
        scan(archive)


def test_zip_without_songs_says_why(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "n.zip"
    with zipfile.ZipFile(path, "w") as sink:
        sink.writestr("a.m4a", b"x")
    with pytest.raises(DataError, match=r"No songs in n\.zip.*a\.m4a is a \.m4a file"):
        scan(path)


def test_cache_that_cannot_be_written_is_named(pack: Pack, own_cache: Path) -> None:
    (own_cache / "sidestep-tui").mkdir(parents=True)
    (own_cache / "sidestep-tui/unpacked").write_text("a file is in the way")
    with pytest.raises(DataError, match="cannot be unpacked") as caught:
        scan(pack())
    assert "dataset unpack" in caught.value.hint


# Editing


def test_folder_of_ones_own_is_made_and_nothing_overwritten(pack: Pack, tmp_path: Path) -> None:
    archive = pack({"good.txt": b"slow, sad", "../evil.wav": b"x"})
    done = archives.unpack(archive, tmp_path / "new/folder")
    assert everything_below(done.folder) == {"good.wav", "good.txt"}
    assert (done.files, [item.code for item in done.left_out]) == (2, ["link_outside"])
    assert not any(path.name.startswith(".") for path in done.folder.iterdir())
    assert archives.is_unpacked(done.folder) is None
    for taken in (done.folder, done.folder / "good.txt"):
        with pytest.raises(DataError, match="exists already"):
            archives.unpack(archive, taken)
    (tmp_path / "empty").mkdir()
    assert archives.unpack(archive, tmp_path / "empty").files == 2


def test_edits_of_a_zip_are_refused_with_the_way_out(pack: Pack) -> None:
    archive = pack({"good.json": b'{"key": "e min", "lyrics": "[00:01.00]la"}'})
    report = doctor.examine(archive, quick=True)
    assert report.fixes() == [] and {item.code for item in report.findings if item.fix} >= {
        "key_spelling",
        "lrc_stamps",
    }
    with pytest.raises(DataError, match="never changed") as caught:
        doctor.fix(report)
    assert f"dataset unpack {archive}" in caught.value.hint
    with pytest.raises(DataError):
        archives.refuse_edits(archive)
    archives.refuse_edits(archive.parent)


def test_a_folder_called_zip_is_a_folder(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("set.zip/a.wav", seconds=0.05)
    assert scan(tmp_path / "set.zip").root == tmp_path / "set.zip"


def test_unpacked_place_is_private(pack: Pack) -> None:
    scan(pack())
    if os.name != "nt":
        assert stat.S_IMODE((paths.cache_place() / "unpacked").stat().st_mode) & 0o077 == 0
