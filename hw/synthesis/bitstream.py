"""From an engine to what a board is configured with: synthesis, placements until the clock is met, packing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from ...sim.engine.loadstream import Sections
from ...sim.errors import BivitError, check
from ...sim.flow.machine import FlowMachine
from ...sim.system.files import scratch_folder
from ...sim.system.kept_text import cached_text, content_key
from ..board.boards import Board
from ..board.constraints import lpf
from ..board.top import BoardTop
from ..convert import rtlil_text
from ..parts.contents import Contents
from .flows import FLOWS
from .parts import ECP5_PARTS, Part
from .place import routed
from .synth import netlist_key, netlist_of
from .tools import find_tool

#: File that nextpnr writes and ecppack reads, and the one with the pins.
_CONFIG, _PINS = "board.config", "pins.lpf"
#: Bitstreams that are kept; one that is kept is not made again.
_KEPT = 8
#: Seconds that packing may take.
_PACKING_S = 600.0
#: Cells in nextpnr's report.
_USED = {"luts": "TRELLIS_COMB", "ffs": "TRELLIS_FF", "block_memories": "DP16KD", "multipliers": "MULT18X18D"}


@dataclass(frozen=True)
class Bitstream:
    """What a board is configured with.

    Parameters
    ----------
    seed : int
        Of the placement.
    fmax_mhz : float
        The highest clock of the engine in it, placed and routed.
    used, there : mapping of str to int
        LUTs, flip-flops, block memories and multipliers: of the design, and of the part.
    data : bytes
        The file.
    """

    seed: int
    fmax_mhz: float
    used: Mapping[str, int]
    there: Mapping[str, int]
    data: bytes

    @property
    def figures(self) -> dict[str, Any]:
        """What a report says of it: seed, clock, cells and their shares of the part's."""
        shares = {f"{name}_share": round(used / self.there[name], 4) for name, used in self.used.items()}
        return {"seed": self.seed, "fmax_mhz": self.fmax_mhz, **self.used, **shares}


#: Called with the name of what begins.
Told = Callable[[str], None]


def build_bitstream(
    top: BoardTop, words: Sections | None, *, seeds: Iterable[int], timeout_s: float, told: Told = lambda what: None
) -> Bitstream:
    """Synthesise, place, route and pack a board's design; with the first seed that meets its clock.

    Netlists and bitstreams are kept by what they depend on: what is asked for again, or was stopped, begins behind the
    last of them.

    Parameters
    ----------
    top : BoardTop
    words : mapping, optional
        Words of a network that is in the bitstream.
    seeds : iterable of int
        Where placements begin.
    timeout_s : float
        Of each tool.
    told : callable
        Is told what begins.

    Raises
    ------
    BivitError
        When a tool is missing or fails, the design is too large for the part (what it needs, and what there is), or no
        seed meets the clock: the best of them.
    """
    for name in ("yosys", "nextpnr-ecp5", "ecppack"):
        find_tool(name)
    told("convert")
    contents = None if words is None else Contents.of(FlowMachine(top.flow), words)
    text = rtlil_text(top, "unit", contents)
    script, part = FLOWS["ecp5"].placed_script, board_part(top.board, top.clock_mhz)

    @cache
    def netlist() -> Mapping[str, Any]:
        """Only where a seed was not placed before."""
        told("synthesise; minutes, where it was not done before")
        return netlist_of(text, script, timeout_s)

    def place(seed: int) -> str:
        design = netlist()
        told(f"place and route, seed {seed}{_best(found)}; minutes")
        return _placed(design, part, seed, timeout_s)

    tools = [str(find_tool("nextpnr-ecp5")), [*part.arguments, *part.large], f"{part.target_mhz:g}", str(part.sites)]
    found: list[Bitstream] = []
    for seed in seeds:
        key = content_key(netlist_key(text, script), dict(part.files), seed, *tools)
        kept = json.loads(cached_text("bitstreams", key, partial(place, seed), keep=_KEPT))
        data = base64.b64decode(kept["data"])
        found.append(Bitstream(seed, kept["fmax_mhz"], kept["used"], kept["there"], data))
        if found[-1].fmax_mhz >= top.clock_mhz:
            return found[-1]
    best = max(found, key=lambda one: one.fmax_mhz)
    raise BivitError(
        f"no seed of {len(found)} meets the clock of {top.clock_mhz:g} MHz; the best, {best.seed}, reaches "
        f"{best.fmax_mhz:g} MHz: take a lower --clock-mhz, more --seeds, or a smaller engine"
    )


def board_part(board: Board, target_mhz: float) -> Part:
    """Return a board's part for nextpnr, with its package and pins.

    Parameters
    ----------
    board : Board
    target_mhz : float
        The engine's clock. Tried for is the part's own aim where that is more: nextpnr does no more than it is asked
        to, and by how much a placement misses its aim scatters.
    """
    part = ECP5_PARTS[board.part]
    aim_mhz = max(target_mhz, part.target_mhz)
    options = {"--package": board.package, "--speed": str(board.speed)}
    pairs = zip(("", *part.arguments), part.arguments, strict=False)
    arguments = tuple(options.get(before, one) for before, one in pairs if one != "--lpf-allow-unconstrained")
    return replace(
        part,
        arguments=(*arguments, "--lpf", _PINS, "--textcfg", _CONFIG),
        target_mhz=aim_mhz,
        files={_PINS: lpf(board, aim_mhz / target_mhz)},
    )


def _best(found: list[Bitstream]) -> str:
    return f" (best so far {max(one.fmax_mhz for one in found):g} MHz)" if found else ""


def _placed(netlist: Mapping[str, Any], part: Part, seed: int, timeout_s: float) -> str:
    """Place with one seed and pack; return what is kept of that, as JSON."""
    report, config = routed(netlist, part, seed=seed, timeout_s=timeout_s, wanted=_CONFIG)
    used = {name: report["utilization"][cell] for name, cell in _USED.items()}
    return json.dumps(
        {
            "fmax_mhz": engine_fmax(report),
            "used": {name: one["used"] for name, one in used.items()},
            "there": {name: one["available"] for name, one in used.items()},
            "data": base64.b64encode(pack(config)).decode("ascii"),
        }
    )


def engine_fmax(report: Mapping[str, Any]) -> float:
    """Return the highest clock of the slowest clock domain with logic, MHz, from nextpnr's report.

    Parameters
    ----------
    report : mapping
    """
    clocks = [clock["achieved"] for clock in report["fmax"].values()]
    check(bool(clocks), "nextpnr's report names no clock")
    return round(min(clocks), 2)


def pack(config: str) -> bytes:
    """Return the bitstream of a placed and routed design.

    Parameters
    ----------
    config : str
        What nextpnr wrote.

    Raises
    ------
    BivitError
        When ecppack is not installed or fails.
    """
    tool = find_tool("ecppack")
    with scratch_folder("bivit-pack") as folder:
        (folder / _CONFIG).write_text(config, encoding="utf-8")
        tool.run(["--compress", "--input", _CONFIG, "--bit", "board.bit"], folder, _PACKING_S)
        return (folder / "board.bit").read_bytes()
