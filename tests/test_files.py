"""Files appear whole or not at all, whatever was left behind, and what is read is not trusted."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bivit.sim import files
from bivit.sim.errors import BivitError


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
    with pytest.raises(KeyboardInterrupt):
        stop_within(tmp_path / "a.txt", KeyboardInterrupt())
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
