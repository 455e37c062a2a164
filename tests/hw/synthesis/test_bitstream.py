"""From a board's top to its bitstream, with tools that are played: which placement is taken, and what is kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from engines import tiny_flow

from bivit.hw.board.boards import SERIAL_BOARDS
from bivit.hw.board.constraints import lpf
from bivit.hw.board.top import BoardTop
from bivit.hw.synthesis import bitstream
from bivit.hw.synthesis.bitstream import board_part, build_bitstream, engine_fmax
from bivit.sim.errors import BivitError

CELLS = ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D")


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds that are placed; seed n reaches 80 + n MHz."""
    seeds: list[int] = []

    def routed(netlist: object, part: object, *, seed: int, **more: object) -> tuple[Mapping[str, Any], str]:
        seeds.append(seed)
        used = {cell: {"used": 10 * number + 1, "available": 100} for number, cell in enumerate(CELLS)}
        return {"fmax": {"clock": {"achieved": 80.0 + seed}}, "utilization": used}, f"config {seed}"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(bitstream, "routed", routed)
    monkeypatch.setattr(bitstream, "find_tool", lambda name: name)
    monkeypatch.setattr(bitstream, "rtlil_text", lambda *top: "text")
    monkeypatch.setattr(bitstream, "netlist_key", lambda text, script: "key")
    monkeypatch.setattr(bitstream, "netlist_of", lambda text, script, timeout_s: {"modules": {}})
    monkeypatch.setattr(bitstream, "pack", lambda config: config.encode())
    return seeds


def top(clock_mhz: float) -> BoardTop:
    return BoardTop(SERIAL_BOARDS["ulx3s"], tiny_flow(), clock_mhz, 1_000_000)


def test_the_first_seed_that_meets_the_clock_is_taken_and_kept(placed: list[int]) -> None:
    told: list[str] = []
    found = build_bitstream(top(82.0), None, seeds=range(1, 5), timeout_s=9, told=told.append)
    assert (found.seed, found.fmax_mhz, found.data) == (2, 82.0, b"config 2")
    assert found.figures["block_memories"] == 21
    assert found.figures["multipliers_share"] == 0.31
    assert placed == [1, 2]
    assert [what.partition(";")[0] for what in told] == [
        *("convert", "synthesise", "place and route, seed 1"),
        "place and route, seed 2 (best so far 81 MHz)",
    ]
    again: list[str] = []
    assert build_bitstream(top(82.0), None, seeds=range(1, 5), timeout_s=9, told=again.append) == found
    assert (again, placed) == (["convert"], [1, 2])  # kept


def test_a_clock_that_no_seed_meets_is_said_with_the_best(placed: list[int]) -> None:
    with pytest.raises(BivitError, match="no seed of 2 meets the clock of 90 MHz; the best, 2, reaches 82 MHz"):
        build_bitstream(top(90.0), None, seeds=range(1, 3), timeout_s=9)
    # More seeds begin behind those that are kept.
    with pytest.raises(BivitError, match="no seed of 3"):
        build_bitstream(top(90.0), None, seeds=range(1, 4), timeout_s=9)
    assert placed == [1, 2, 3]


def test_a_part_has_the_boards_package_and_pins() -> None:
    part = board_part(SERIAL_BOARDS["colorlight-i9"], 60.0)
    assert part.arguments == (
        *("--45k", "--speed", "6", "--package", "CABGA381"),
        *("--lpf", "pins.lpf", "--textcfg", "board.config"),
    )
    # It is asked for the part's aim; the PLL's clock follows from that of the board.
    assert part.target_mhz == 125.0
    assert part.files == {"pins.lpf": lpf(SERIAL_BOARDS["colorlight-i9"], 125 / 60)}
    fast = board_part(SERIAL_BOARDS["colorlight-i9"], 150.0)
    assert (fast.target_mhz, fast.files) == (150.0, {"pins.lpf": lpf(SERIAL_BOARDS["colorlight-i9"])})


def test_a_report_without_a_clock_is_refused() -> None:
    with pytest.raises(BivitError, match="names no clock"):
        engine_fmax({"fmax": {}})
