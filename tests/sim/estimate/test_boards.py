"""Boards as data: each is on a device, says what its memory can do and how that is known, and is found by its names."""

from pathlib import Path
from typing import get_args

import pytest
from program import assert_refused, invoke

from bivit.cli.pages.devices import DEVICES_PAGE, render
from bivit.sim.errors import BivitError
from bivit.sim.estimate.boards import BOARDS, ExternalMemory, PriceClass
from bivit.sim.estimate.devices import DEVICES, device

WANTED = {
    *("ulx3s-12", "ulx3s-25", "ulx3s-45", "ulx3s-85", "colorlight-i5", "colorlight-i9", "orangecrab-25"),
    *("orangecrab-85", "icebreaker", "arty-a7-35", "arty-a7-100", "nexys-video", "pynq-z2", "ultra96", "kv260"),
    *("zcu102", "zcu104", "vck190", "alveo-u50", "alveo-u250", "tang-primer-25k", "tang-mega-138k", "crosslink-nx"),
}


def test_the_boards_are_there() -> None:
    assert set(BOARDS) >= WANTED
    names = [name for board in BOARDS.values() for name in (board.name, *board.also)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_says_all_of_it(name: str) -> None:
    board = BOARDS[name]
    assert board.name == name
    assert board.device in DEVICES
    assert board.source
    assert 0 < board.usable <= 1
    assert board.price in get_args(PriceClass)
    for spelled in (board.name, *board.also):
        assert device(spelled) is DEVICES[board.device]
    if board.memory is not None and board.memory.gb_s is not None:
        assert 0.1 < board.memory.gb_s < 500
        assert board.memory.bits % 16 == 0


def test_bandwidth_is_width_times_rate_and_unknown_without_a_rate() -> None:
    speeds = {name: board.memory.gb_s for name, board in BOARDS.items() if board.memory}
    assert speeds["kv260"] == pytest.approx(19.2)
    assert speeds["arty-a7-35"] == pytest.approx(1.334)
    assert speeds["alveo-u250"] == pytest.approx(76.8)
    assert speeds["alveo-u50"] == pytest.approx(316)
    assert speeds["tang-mega-138k"] is None
    assert ExternalMemory(what="", bits=16, mt_s=None, kind="assumed").gb_s is None


def test_the_page_is_that_of_the_data() -> None:
    assert DEVICES_PAGE.read_text(encoding="utf-8") == render(DEVICES, BOARDS)


def test_a_name_that_is_nearly_one_is_answered_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BivitError, match=r"did you mean orangecrab-85\?"):
        device("orange-crab-86")
    for command in (("estimate", "digits"), ("explore", "digits")):
        refused = invoke(*command, "--target", "colorlite-i5", cwd=tmp_path, monkeypatch=monkeypatch)
        assert_refused(refused, "did you mean colorlight-i5?")


def test_a_board_is_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke("estimate", "digits", "--target", "Alveo U50", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    assert "XCU50 (Alveo U50)" in done.stdout
