"""Files appear whole or not at all, whatever was left behind, and what is read is not trusted."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bivit.sim.errors import BivitError
from bivit.sim.system import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stop_within(path: Path, error: BaseException) -> None:
    """Write half of a file, then raise."""
    with files.whole_file(path) as partial:
        partial.write_text("half")
        raise error


def test_a_file_is_replaced_when_its_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        with files.whole_file(target) as partial:
            partial.write_text(text)
            assert not target.exists() or target.read_text() == "one"
        assert target.read_text() == text
    assert names(target.parent) == ["a.txt"]


def test_a_file_of_a_block_that_fails_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "a.txt", tmp_path / "new" / "folder" / "a.txt"):
        with pytest.raises(KeyboardInterrupt):
            stop_within(path, KeyboardInterrupt())
    assert names(tmp_path) == []


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "x")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(BivitError, match=r"cannot write .*a\.txt: No space left on device; make room"):
        stop_within(tmp_path / "a.txt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert names(tmp_path) == []


def test_a_file_that_cannot_be_read_meanwhile_keeps_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="/nowhere"), files.whole_file(tmp_path / "a.txt"):
        Path("/nowhere").read_text()


@pytest.mark.parametrize("name", ["a.txt", "a[1]*.txt"])
def test_what_a_killed_process_left_is_swept(tmp_path: Path, name: str) -> None:
    (tmp_path / f".{name}.xyz.partial").write_text("left")
    (tmp_path / f".{name}.folder.partial").mkdir()
    (tmp_path / ".other.txt.xyz.partial").write_text("another's")
    with files.whole_file(tmp_path / name) as mine, files.whole_file(tmp_path / name) as beside:
        mine.write_text("mine")
        beside.write_text("beside")  # a second writer does not sweep what the first still writes
    assert names(tmp_path) == [".other.txt.xyz.partial", name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for text in ("one", "two"):
        with files.whole_folder(target) as partial:
            (partial / f"{text}.txt").write_text(text)
        assert names(target) == [f"{text}.txt"]
    with pytest.raises(ZeroDivisionError), files.whole_folder(target):
        raise ZeroDivisionError
    assert names(target) == ["two.txt"]
    assert names(tmp_path) == ["out"]


def test_a_folder_that_was_moved_aside_comes_back(tmp_path: Path) -> None:
    target, aside = tmp_path / "out", tmp_path / ".out.old.partial"
    aside.mkdir()
    (aside / "kept.txt").touch()
    files.sweep(target)
    assert names(target) == ["kept.txt"]
    aside.mkdir()
    files.sweep(target)
    assert names(tmp_path) == ["out"]


def test_text_is_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa\nb\n")
    assert files.read_text(path, "the list") == "a\nb\n"
    path.write_bytes("a\ncaf\xe9\n".encode("latin-1"))
    with pytest.raises(BivitError, match=r"list\.txt \(the list\) is not UTF-8 text: line 2 holds the byte 0xe9"):
        files.read_text(path, "the list")
    with pytest.raises(BivitError, match=r"there is no file .*nothing"):
        files.read_text(tmp_path / "nothing", "the list")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[NaN]", "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "is not JSON"),
        ("{", "is not JSON"),
    ],
)
def test_json_that_is_none(text: str, message: str) -> None:
    with pytest.raises(BivitError, match=f"the file.*{message}"):
        files.parse_json(text, "the file")


def test_no_nan_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"clock": float("nan")})
    assert names(tmp_path) == []


def test_what_is_no_file_is_written_to_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write_text(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    with pytest.raises(BivitError, match=r"cannot write /dev/full: No space left on device"):
        files.write_text(Path("/dev/full"), "x")
    assert names(tmp_path) == ["pipe"]


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    files.write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("path", [".", "..", "/", "a/.."])
def test_the_folder_one_works_in_is_not_replaced(path: str) -> None:
    for write in (files.whole_file, files.whole_folder):
        with pytest.raises(BivitError, match="give the name of a file or folder in it"):
            write(path).__enter__()


def test_scratch_folders_of_killed_processes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / ".bivit-test.left.partial").mkdir()
    (tmp_path / ".bivit-test.left.partial" / "trace.txt").touch()
    with files.scratch_folder("bivit-test") as one, files.scratch_folder("bivit-test") as two:
        assert names(tmp_path) == sorted([one.name, two.name])
    assert names(tmp_path) == []


def test_a_name_that_a_sweep_takes_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the making of a temporary name and its lock another process may sweep it."""
    take, swept = files.take, []

    def sweep_first(handle: int, *, wait: bool) -> bool:
        if not swept:
            swept.extend(tmp_path.iterdir())
            swept[0].unlink()
        return take(handle, wait=wait)

    monkeypatch.setattr(files, "take", sweep_first)
    files.write_text(tmp_path / "a.txt", "a")
    assert names(tmp_path) == ["a.txt"]
    assert len(swept) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("a = [", "is not TOML"), ("a = " + "[" * 5000, "nested too deeply"), ("a = " + "9" * 5000, "is not TOML")],
)
def test_toml_that_is_none(text: str, message: str) -> None:
    assert files.parse_toml("a = 1", "the file") == {"a": 1}
    with pytest.raises(BivitError, match=f"the file {message}|the file is not used.*{message}"):
        files.parse_toml(text, "the file")
