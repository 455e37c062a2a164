"""Boards: constraints, clocks, and that their tops are built of what they say."""

import re

import pytest
from engines import tiny_flow

from bivit.hw.board.boards import SERIAL_BOARDS, ZYNQ_BOARDS, Board, find_board
from bivit.hw.board.constraints import lpf, xdc
from bivit.hw.board.pll import find_pll
from bivit.hw.board.plle2 import find_plle2
from bivit.hw.board.top import BoardTop
from bivit.hw.board.uart import UartReceiver
from bivit.hw.convert import rtlil_text
from bivit.hw.synthesis.bitstream import board_part
from bivit.hw.synthesis.parts import ECP5_PARTS
from bivit.sim.errors import BivitError
from bivit.sim.estimate import devices

ECP5_BOARDS = {name: board for name, board in SERIAL_BOARDS.items() if board.family == "ecp5"}


@pytest.mark.parametrize("board", ECP5_BOARDS.values(), ids=ECP5_BOARDS)
def test_every_port_of_a_top_has_a_place_of_its_own(board: Board) -> None:
    top = BoardTop(board, tiny_flow(), board.default_mhz, 1_000_000)
    placed = re.findall(r'LOCATE COMP "(\w+)" SITE "(\w+)";', lpf(board))
    assert {name for name, _ in placed} == set(top.signature.members)
    assert len({site for _, site in placed}) == len(placed)
    assert f'FREQUENCY PORT "clk" {board.clock_mhz:g} MHZ;' in lpf(board)
    assert board.part in ECP5_PARTS


def test_a_pin_has_the_levels_of_its_bank_and_a_part_its_grade() -> None:
    """An OrangeCrab's button is beside its memory."""
    board = SERIAL_BOARDS["orangecrab-85"]
    assert 'IOBUF PORT "button" IO_TYPE=SSTL135_I PULLMODE=NONE;' in lpf(board)
    assert lpf(board).count("IO_TYPE=LVCMOS33") == 4
    arguments = board_part(board, 100.0).arguments
    for option, value in {"--speed": "8", "--package": "CSFBGA285"}.items():
        assert arguments[arguments.index(option) + 1] == value
    assert "--85k" in arguments


def test_every_port_of_an_arty_has_a_pin() -> None:
    board = SERIAL_BOARDS["arty"]
    top = BoardTop(board, tiny_flow(), 90.0, 1_000_000)
    placed = re.findall(r"PACKAGE_PIN (\w+) IOSTANDARD LVCMOS33(?: PULLUP true)?} \[get_ports (\w+)\]", xdc(board))
    assert {name for _, name in placed} == set(top.signature.members)
    assert "create_clock -name clk -period 10.000 [get_ports clk]" in xdc(board)


def test_boards_are_those_of_the_estimates() -> None:
    for name, board in {**SERIAL_BOARDS, **ZYNQ_BOARDS}.items():
        known = devices.board(name)
        assert known is not None
        assert known.device == board.part == devices.device(name).name


@pytest.mark.parametrize("most_mhz", [7.0, 33.3, 90.0, 99.99, 125.0, 200.0, 464.0])
def test_a_plle2_is_near_and_within_the_limits(most_mhz: float) -> None:
    pll = find_plle2(100.0, most_mhz)
    assert 0.98 * most_mhz <= pll.out_mhz <= most_mhz
    assert 800 <= pll.oscillator_mhz <= 1600
    assert 19 <= pll.in_mhz / pll.divide <= 450
    assert (pll.divide <= 56, 2 <= pll.multiply <= 64, pll.of_oscillator <= 128) == (True, True, True)


def test_what_no_plle2_makes_is_refused() -> None:
    with pytest.raises(BivitError, match=r"no PLL of 7-series makes up to 5 MHz of 100 MHz; take 6\.25 to 464 MHz"):
        find_plle2(100.0, 5.0)


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
    with pytest.raises(BivitError, match=r"one of ulx3s, .*arty, kv260, zcu102, got 'ulx3'; did you mean ulx3s"):
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
