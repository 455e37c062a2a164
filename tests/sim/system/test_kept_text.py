"""Texts kept in the cache folder: made once, whole, few, and never in the way."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from bivit.sim.system import kept_text
from bivit.sim.system.kept_text import cached_text

TEXT = "module m;\r\nendmodule \u00b5\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bivit" / "kind"


class Maker:
    """Makes a text, and counts how often."""

    def __init__(self, text: str = TEXT):
        self.text, self.calls = text, 0

    def __call__(self) -> str:
        self.calls += 1
        return self.text


def test_a_text_is_made_once(folder: Path) -> None:
    make = Maker()
    assert [cached_text("kind", "a", make) for _ in range(3)] == [TEXT] * 3
    assert make.calls == 1
    assert cached_text("kind", "b", make) == TEXT
    assert make.calls == 2
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("position", [0, 10, 80, -1])
def test_a_damaged_text_is_made_anew(folder: Path, position: int) -> None:
    make = Maker()
    cached_text("kind", "a", make)
    path = folder / "a.txt"
    whole = path.read_bytes()
    for damaged in (whole[:position], bytes([whole[0] ^ 1]) + whole[1:], whole + b" ", b"", b"\xff\xfe"):
        path.write_bytes(damaged)
        assert cached_text("kind", "a", make) == TEXT
        assert path.read_bytes() == whole
    assert make.calls == 6


def test_a_failure_keeps_nothing(folder: Path) -> None:
    def fail() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_text("kind", "a", fail)
    assert not list(folder.glob("*.txt"))
    assert cached_text("kind", "a", Maker()) == TEXT


def test_the_texts_used_last_are_kept(folder: Path) -> None:
    for key in "abc":
        cached_text("kind", key, Maker(), keep=3)
        os.utime(folder / f"{key}.txt", (0, ord(key)))
    cached_text("kind", "a", Maker())  # used again, so that b is the oldest
    cached_text("kind", "d", Maker(), keep=3)
    assert sorted(path.name for path in folder.iterdir()) == [f"{k}.{end}" for k in "acd" for end in ("lock", "txt")]


def test_without_a_folder_every_text_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_text, "cache_folder", lambda name: None)
    make = Maker()
    assert [cached_text("kind", "a", make) for _ in range(2)] == [TEXT] * 2
    assert make.calls == 2


def test_a_full_disk_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *arguments: object, **more: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert cached_text("kind", "a", Maker()) == TEXT


def _make_slowly(log: str) -> str:
    def make() -> str:
        with Path(log).open("a") as file:
            file.write("made\n")
        time.sleep(0.5)
        return TEXT

    return kept_text.cached_text("kind", "a", make)


def test_of_two_processes_one_makes_the_text(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_make_slowly, [log, log], chunksize=1) == [TEXT, TEXT]
    assert Path(log).read_text() == "made\n"
