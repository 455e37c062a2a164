"""Boards: constraints, clocks, and that their tops are built of what they say."""

import re

import pytest
from engines import tiny_flow

from bivit.hw.board.boards import SERIAL_BOARDS, Board, find_board
from bivit.hw.board.pll import find_pll
from bivit.hw.board.top import BoardTop
from bivit.hw.board.uart import UartReceiver
from bivit.hw.convert import rtlil_text
from bivit.hw.synthesis.parts import ECP5_PARTS
from bivit.sim.errors import BivitError


@pytest.mark.parametrize("board", SERIAL_BOARDS.values(), ids=SERIAL_BOARDS)
def test_every_port_of_a_top_has_a_place_of_its_own(board: Board) -> None:
    top = BoardTop(board, tiny_flow(), board.default_mhz, 1_000_000)
    placed = re.findall(r'LOCATE COMP "(\w+)" SITE "(\w+)";', board.constraints)
    assert {name for name, _ in placed} == set(top.signature.members)
    assert len({site for _, site in placed}) == len(placed)
    assert f'FREQUENCY PORT "clk" {board.clock_mhz:g} MHZ;' in board.constraints
    assert board.part in ECP5_PARTS


@pytest.mark.parametrize("most_mhz", [5.0, 24.9, 75.0, 90.0, 99.99, 103.7, 250.0, 400.0])
def test_a_pll_is_near_and_within_the_limits(most_mhz: float) -> None:
    pll = find_pll(25.0, most_mhz)
    assert most_mhz - 25 / 8 <= pll.out_mhz <= most_mhz  # the board's clock is divided by 8 at most
    assert 400 <= pll.oscillator_mhz <= 800
    assert pll.in_mhz / pll.divide >= 3.125
    assert max(pll.divide, pll.multiply, pll.of_oscillator) <= 128


def test_what_no_pll_makes_is_refused() -> None:
    with pytest.raises(BivitError, match=r"no PLL of ECP5 makes up to 2 MHz of 25 MHz; take 5 to 400 MHz"):
        find_pll(25.0, 2.0)


def test_an_unknown_board_is_refused() -> None:
    with pytest.raises(BivitError, match=r"board must be one of ulx3s, colorlight-i9, got 'ulx3'; did you mean ulx3s"):
        find_board("ulx3")


def test_the_clock_is_the_boards_or_a_plls() -> None:
    board = SERIAL_BOARDS["ulx3s"]
    made = BoardTop(board, tiny_flow(), 90.0, 1_000_000)
    text = rtlil_text(made, "unit")
    assert (made.clock_mhz, made.pll) == (90.0, find_pll(25.0, 90.0))
    assert "EHXPLLL" in text
    assert re.search(r"attribute \\FREQUENCY_PIN_CLKOP \"90\"", text)
    own = BoardTop(board, tiny_flow(), 25.0, 1_000_000)
    assert own.pll is None
    assert "EHXPLLL" not in rtlil_text(own, "unit")


def test_a_baud_rate_that_the_clock_does_not_give_is_refused() -> None:
    with pytest.raises(BivitError, match="a bit must last 4 clock cycles or more, got 2"):
        UartReceiver(2)
    with pytest.raises(BivitError, match=r"90 MHz give no 12,000,000 bits a second to 3%"):
        BoardTop(SERIAL_BOARDS["ulx3s"], tiny_flow(), 90.0, 12_000_000)
