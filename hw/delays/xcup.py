"""Delays of UltraScale+ at speed grade -2 and 0.85 V.

AMD publishes few delays of logic in the data sheets: these are from timing reports of routed designs that are public.
"""

from __future__ import annotations

from statistics import mean

from .table import (
    ASSUMED,
    DSP_IGNORED,
    Carry,
    CellDelays,
    Cells,
    DelayTable,
    Figure,
    NetDelays,
    Parameters,
    carry_chain,
    dsp_controls,
    each,
    fitted_nets,
    look_up,
    number,
)

#: Reports of Vivado for routed designs of an XCVU3P at -2, as RapidWright's tutorials on RWRoute print them.
_ROUTED = "Vivado report_timing, xcvu3p -2, in RapidWright's tutorials RWRoute timing-driven and partial routing"
#: Report that RapidWright's script for delays of DSP blocks quotes; its register takes 0.079 ns, as at -2.
_DSP = "Vivado report quoted in RapidWright's tcl/rwroute/dump_all_dsp_delay.tcl"
#: Report at -1.
_SLOWER = "Vivado report_timing, xczu3eg -1, routed, in the repository gussmith23/lakeroad-evaluation"
#: Report whose registers and look-up tables have the delays of -2.
_BLOCK = "Vivado report of an xcu250 at 0.85 V, quoted in TimingReportParser, a script around UCLA's AutoBridge"
#: What -1 takes to -2: the clocks that DS925 allows a DSP48E2 with all registers, 645 and 775 MHz.
_FASTER, _FASTER_WHY = 645 / 775, "times 645 / 775, the clocks that DS925 allows a DSP48E2 at -1 and -2"
_SEVENTH = "times 0.830 / 2.454, clock to output of block memories here and there"

#: Delays of look-up tables on the critical paths of `_ROUTED` and `_DSP`, by number of inputs. They depend on the pin.
_LOOK_UPS = {
    2: (0.099, 0.051),
    3: (0.124, 0.051),
    4: (0.051,),
    5: (0.089, 0.037, 0.110, 0.116, 0.100),
    6: (0.088,),
}
#: Loads and delay of the nets of those paths that use general routing; the second list is of `_SLOWER`.
_ROUTED_NETS = (
    *((21, 0.523), (2, 0.050), (19, 0.226), (4, 0.139), (8, 0.219), (2, 0.213), (2, 0.157), (1, 0.300), (1, 0.117)),
    *((324, 0.472), (2, 0.140), (28, 0.357), (22, 0.373)),
)
_SLOWER_NETS = (
    *((10, 0.332), (1, 0.254), (1, 0.171), (69, 0.137), (70, 0.702), (2, 0.162), (19, 0.282), (7, 0.194)),
    *((2, 0.226), (1, 0.242)),
)


def _routed(ns: float) -> Figure:
    return Figure(ns, _ROUTED)


def _slower(ns: float) -> Figure:
    return Figure(ns, _SLOWER).times(_FASTER, _FASTER_WHY)


def _seventh(ns: float) -> Figure:
    return Figure(ns, "7 series -1, see xc7").times(0.830 / 2.454, _SEVENTH)


#: One figure for all sizes: the samples show how far pins differ, not how far sizes do.
_LOOK_UP = _routed(round(mean(ns for sample in _LOOK_UPS.values() for ns in sample), 3))
_SLOW_LOOK_UP = Figure(0.124, f"{_BLOCK} (slowest input of a look-up table)")
_REGISTER = CellDelays(
    launch={"Q": _routed(0.081)},
    capture={
        "D": _routed(-0.025),
        "CE": _routed(0.061),
        **each(
            ("R", "S", "CLR", "PRE"),
            Figure(0.061, f"{ASSUMED}as CE: both are control inputs of the slice ({_ROUTED})"),
        ),
    },
    ignored=frozenset({"C"}),
)
_CARRY = Carry(
    to_sum=Figure(0.099, f"{_ROUTED} (CI to CO[4], which leaves by the same multiplexers as a sum)"),
    inside=Figure(0.099, f"{ASSUMED}as from the carry in ({_ROUTED})"),
    whole=_slower(0.030),
)
#: Half of a CARRY8, which two CARRY4 of Yosys become.
_HALF = Carry(_CARRY.to_sum, _CARRY.inside, _CARRY.whole.times(0.5, "half of a CARRY8"))
_INTO_CARRY = (_slower(0.155), _routed(0.163))
_CHAIN_PINS = {"S[{}]": _INTO_CARRY, "DI[{}]": (_slower(0.189), _slower(0.161))}
_CHAIN_NAMES = ("CI", "O[{}]", "CO[{}]")


def _chain(bits: int, carry: Carry) -> CellDelays:
    arcs = carry_chain(bits, _CHAIN_PINS, carry, _CHAIN_NAMES)
    first = {("CYINIT", target): figure for (source, target), figure in arcs.items() if source == "CI"}
    top = {("CI_TOP", target): figure for (source, target), figure in arcs.items() if source == "CI"}
    return CellDelays(through=arcs | first | top, bitwise=True)


def _memory(parameters: Parameters) -> CellDelays:
    """Return the delays of a block memory: with the output register or without it."""
    plain, registered = Figure(0.830, _BLOCK), _seventh(0.882)
    out = {side: registered if number(parameters, f"DO{side}_REG") else plain for side in "AB"}
    enables = ("ENARDEN", "ENBWREN", "ADDRENA", "ADDRENB", "REGCEAREGCE", "REGCEB", "SLEEP")
    resets = ("RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB")
    return CellDelays(
        launch={f"DOUT{part}{side}DOUT{part}": out[side] for side in "AB" for part in ("", "P")},
        capture={
            **each(("ADDRARDADDR", "ADDRBWRADDR"), _seventh(0.566)),
            **each(("DINADIN", "DINBDIN", "DINPADINP", "DINPBDINP"), _seventh(0.737)),
            **each(("WEA", "WEBWE", *enables), _seventh(0.532)),
            **each(resets, _seventh(0.342)),
        },
        ignored=frozenset({"CLKARDCLK", "CLKBWRCLK"}),
    )


#: Stages of a DSP48E2: input to the operand, pre-adder by-passed, multiplier, its output, adder, and output.
_DSP_STAGES = {
    "operand": Figure(0.192, _DSP),
    "preadd": Figure(0.076, _DSP),
    "multiplier": _slower(0.737),
    "product": Figure(0.047, _DSP),
    "adder": Figure(0.585, _DSP),
    "output": Figure(0.109, _DSP),
}
_DSP_CLOCK = _slower(0.263)
_DSP_SETUP = Figure(0.159, f"{_DSP} (CEA2; data is taken as enables are)")


def _dsp(parameters: Parameters) -> CellDelays:
    """Return the delays of a DSP48E2 used as a multiplier, with what registers its parameters say."""
    stages = {name: figure.ns for name, figure in _DSP_STAGES.items()}
    to_product = stages["preadd"] + stages["multiplier"] + stages["product"]
    onward = stages["adder"] + stages["output"]
    first, middle, last = (number(parameters, name) > 0 for name in ("AREG", "MREG", "PREG"))
    source = "stages of " + "; ".join(sorted({figure.source for figure in _DSP_STAGES.values()}))

    def figure(ns: float) -> Figure:
        return Figure(round(ns, 4), source)

    ahead = stages["operand"] + to_product + (0 if middle else stages["adder"])
    ends = _DSP_SETUP if first else figure(ahead) if middle or last else None
    begins = _DSP_CLOCK.ns + (0 if last or middle else to_product)
    launch = figure(begins + (stages["output"] if last else onward)) if first or middle or last else None
    operands, sums, results = ("A", "B", "D", "ACIN", "BCIN"), ("C", "PCIN", "CARRYIN"), ("P", "PCOUT")
    whole, to_sum = figure(stages["operand"] + to_product + onward), figure(stages["operand"] + onward)
    return CellDelays(
        launch={
            **(each(results, launch) if launch else {}),
            **(each(("ACOUT", "BCOUT"), _DSP_CLOCK) if first else {}),
        },
        capture={
            **(each(operands, ends) if ends else {}),
            **(each(sums, figure(stages["operand"] + stages["adder"])) if last else {}),
            **each(dsp_controls(), _DSP_SETUP),
        },
        through={
            **({} if first or middle or last else {(name, out): whole for name in operands for out in results}),
            **({} if last else {(name, out): to_sum for name in sums for out in results}),
        },
        inside=_inside(first, middle, last),
        ignored=DSP_IGNORED,
    )


def _inside(first: bool, middle: bool, last: bool) -> Figure | None:
    """Return the shortest period that DS925 allows a DSP48E2 with some registers."""
    if first and middle and last:
        return Figure(round(1000 / 775, 3), "DS925, DSP48 slice: FMAX with all registers used, -2: 775 MHz")
    if first and last:
        return Figure(round(1000 / 544, 3), "DS925, DSP48 slice: FMAX_MULT_NOMREG, -2: 544 MHz")
    return None


def _lut_memory(letters: str) -> CellDelays:
    """Return the delays of memory in look-up tables with a port for each letter; the last one is written."""
    read = _SLOW_LOOK_UP
    return CellDelays(
        launch=each((f"DO{n}" for n in letters), _seventh(1.190)),
        capture={
            **each((f"DI{n}" for n in letters), _seventh(0.461)),
            "WE": _seventh(0.654),
            f"ADDR{letters[-1]}": _seventh(0.362),
        },
        through={(f"ADDR{n}", f"DO{n}"): read for n in letters},
        ignored=frozenset({"WCLK"}),
    )


def _single(multiplexers: int) -> CellDelays:
    """Return the delays of a memory of one data bit that has so many multiplexers behind its look-up tables."""
    ns = _SLOW_LOOK_UP.ns + multiplexers * _MULTIPLEXER["S"].ns
    read = Figure(round(ns, 4), f"{_SLOW_LOOK_UP.source}, and {multiplexers} multiplexers behind it")
    return CellDelays(
        launch=each(("O", "SPO", "DPO"), _seventh(1.190)),
        capture={"D": _seventh(0.453), **each(("WE", "WSEL"), _seventh(0.654)), "A": _seventh(0.362)},
        through={("A", "O"): read, ("A", "SPO"): read, ("DPRA", "DPO"): read},
        ignored=frozenset({"WCLK"}),
    )


_SHIFT = CellDelays(
    launch=each(("Q", "Q15", "Q31"), _seventh(1.472)),
    capture={"D": _seventh(0.173), "CE": _seventh(0.109)},
    through={("A", "Q"): _SLOW_LOOK_UP},
    ignored=frozenset({"CLK"}),
)
_MULTIPLEXER = {
    "I0": _slower(0.082),
    "I1": _slower(0.082),
    "S": _slower(0.082).times(296 / 223, "select over data as in 7 series"),
}

_BASE, _DOUBLING = fitted_nets([*_ROUTED_NETS, *((loads, ns * _FASTER) for loads, ns in _SLOWER_NETS)])
_FIT = f"least squares over {len(_ROUTED_NETS)} nets of {_ROUTED} and {len(_SLOWER_NETS)} scaled of {_SLOWER}"
_NETS = NetDelays(
    base=Figure(_BASE, _FIT),
    doubling=Figure(_DOUBLING, _FIT),
    block=Figure(
        0.2,
        f"{ASSUMED}over half of what a net from a memory with two loads costs beyond others: 0.478 ns in that report",
    ),
    packed={
        ("look-up", "register"): _routed(0.051),
        ("carry", "register"): _routed(0.051),
        ("look-up", "carry"): _routed(0.025),
        ("carry out", "carry in"): _routed(0.026).times(0.5, "one crossing to the next CARRY8 for two CARRY4"),
        ("look-up", "multiplexer"): _slower(0.009),
        ("multiplexer", "multiplexer"): _slower(0.009),
        ("cascade", "cascade"): Figure(0.0, f"{ASSUMED}dedicated wires between neighbouring DSP blocks"),
    },
)

_LUT_KINDS = ("INV", *(f"LUT{n}" for n in range(1, 7)))
_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
_WIDE = ("RAM32M16", "RAM64M8", "RAM32X16DR8")
_NARROW = ("RAM32X1S", "RAM32X1D", "RAM64X1S", "RAM64X1D", "RAM64X8SW")
#: Memories of one data bit in several look-up tables, by the multiplexers behind these.
_DEEP = {"RAM128X1S": 1, "RAM128X1D": 1, "RAM256X1S": 2, "RAM256X1D": 2, "RAM512X1S": 3}
_CELLS: Cells = {
    **{name: look_up(("I",), "O", _LOOK_UP) for name in _LUT_KINDS},
    **dict.fromkeys(_FLIP_FLOPS, _REGISTER),
    "CARRY4": _chain(4, _HALF),
    "CARRY8": _chain(8, _CARRY),
    **dict.fromkeys(("MUXF7", "MUXF8", "MUXF9"), CellDelays(through={(n, "O"): f for n, f in _MULTIPLEXER.items()})),
    **dict.fromkeys(_WIDE, _lut_memory("ABCDEFGH")),
    **dict.fromkeys(("RAM32M", "RAM64M"), _lut_memory("ABCD")),
    **dict.fromkeys(_NARROW, _single(0)),
    **{name: _single(multiplexers) for name, multiplexers in _DEEP.items()},
    **dict.fromkeys(("SRL16E", "SRLC16E", "SRLC32E"), _SHIFT),
    **dict.fromkeys(("RAMB36E2", "RAMB18E2"), _memory),
    "DSP48E2": _dsp,
}
_KINDS = {
    **dict.fromkeys(_LUT_KINDS, "look-up"),
    **dict.fromkeys(_FLIP_FLOPS, "register pin"),
    **{f"{name}.D": "register" for name in _FLIP_FLOPS},
    **dict.fromkeys(("CARRY4", "CARRY8"), "carry"),
    **{f"{name}.CI": "carry in" for name in ("CARRY4", "CARRY8")},
    **{f"{name}.CO": "carry out" for name in ("CARRY4", "CARRY8")},
    **dict.fromkeys(("MUXF7", "MUXF8", "MUXF9"), "multiplexer"),
    **{f"{name}.S": "select" for name in ("MUXF7", "MUXF8", "MUXF9")},
    **dict.fromkeys(("RAMB36E2", "RAMB18E2", "DSP48E2"), "block"),
    **{f"DSP48E2.{pin}": "cascade" for pin in ("PCOUT", "PCIN", "ACOUT", "ACIN", "BCOUT", "BCIN")},
}
XCUP = DelayTable(
    part="UltraScale+ -2, 0.85 V",
    cells=_CELLS,
    kinds=_KINDS,
    nets=_NETS,
    register="FDRE",
    uncertainty=_routed(0.035),
)
