"""Delays of 7 series at speed grade -1: Artix-7, Spartan-7, and Zynq-7000 parts of the same logic.

Delays of cells are those of Project X-Ray's database, as Yosys' techlibs/xilinx/cells_sim.v quotes them line by line
("specify" blocks, and functions of a DSP48E1's registers); what Vivado counts elsewhere, and nets, are from a report.
"""

from __future__ import annotations

from .table import (
    ASSUMED,
    DSP_IGNORED,
    Arcs,
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

_XRAY = "Project X-Ray artix7/timings, quoted in Yosys' techlibs/xilinx/cells_sim.v"
_REPORT = "Vivado timing report, routed, LiteX with VexiiRiscv, by its clock pin on a Nexys Video (XC7A200T-1)"

#: Loads and delay of nets between logic on two critical paths of `_REPORT`.
_ROUTED_NETS = (
    *((9, 1.026), (3, 1.013), (4, 0.600), (6, 0.729), (2, 0.302), (1, 0.444), (1, 0.300), (4542, 1.602), (1, 0.423)),
    *((1, 0.553), (12, 0.652), (7, 0.715), (1, 0.575), (2, 0.489), (5, 0.602), (3, 0.570), (3, 0.303)),
)
#: Net of 18 loads to a block memory there.
_TO_BLOCK = (18, 1.309)


def _xray(ns: float) -> Figure:
    return Figure(ns, _XRAY)


def _report(ns: float) -> Figure:
    return Figure(ns, _REPORT)


_LOOK_UP = _report(0.124)
#: Read of a memory in look-up tables: its slowest address, since memories keep their pins.
_READ = _xray(0.642)
_REGISTER = CellDelays(
    launch={"Q": _report(0.456)},
    capture={
        "D": Figure(0.0, f"{_XRAY}, -0.046 ns, counted as 0 as Yosys does"),
        "CE": _xray(0.109),
        **each(("R", "S", "CLR", "PRE"), _xray(0.404)),
    },
    ignored=frozenset({"C"}),
)
_CARRY = Carry(
    to_sum=_xray(0.222), inside=Figure(0.06, f"{_XRAY}, S[0] to O[1] less S[0] to CO[0]"), whole=_xray(0.114)
)
_ARCS = carry_chain(
    4,
    {"S[{}]": (_xray(0.227), _xray(0.380)), "DI[{}]": (_xray(0.407), _xray(0.398))},
    _CARRY,
    ("CI", "O[{}]", "CO[{}]"),
)
_START = {("CYINIT", out): _xray(0.580 if out.startswith("CO") else 0.642) for _, out in _ARCS}
_CHAIN = CellDelays(through=_ARCS | _START, bitwise=True)


def _memory(parameters: Parameters) -> CellDelays:
    """Return the delays of a block memory: with the output register or without it."""
    out = {side: _xray(0.882 if number(parameters, f"DO{side}_REG") else 2.454) for side in "AB"}
    buses = {"DOADO": "A", "DOPADOP": "A", "DOBDO": "B", "DOPBDOP": "B"}
    return CellDelays(
        launch={bus: out[side] for bus, side in buses.items()},
        capture={
            **each(("ADDRARDADDR", "ADDRBWRADDR"), _xray(0.566)),
            **each(("DIADI", "DIBDI", "DIPADIP", "DIPBDIP"), _xray(0.737)),
            **each(("WEA", "WEBWE"), _xray(0.532)),
            **each(("ENARDEN", "ENBWREN"), _report(0.443)),
            **each(("REGCEAREGCE", "REGCEB"), _xray(0.360)),
            **each(("RSTREGARSTREG", "RSTREGB", "RSTRAMARSTRAM", "RSTRAMB"), _xray(0.342)),
        },
        ignored=frozenset({"CLKARDCLK", "CLKBWRCLK"}),
    )


#: Setup of a DSP48E1's input with its register, before MREG, and before PREG without either.
_DSP_SETUP = {"A": (0.254, 1.416, 2.739), "B": (0.324, 1.285, 2.608)}
#: What is taken as an operand is: its cascade, and the pre-adder's input, which is slower where it is in use.
_DSP_PINS = {"A": ("A", "ACIN", "D"), "B": ("B", "BCIN")}
#: Input to output without registers.
_DSP_THROUGH = {"A": 2.823, "B": 2.690, "C": 1.325}
#: Clock to P from PREG, MREG, AREG and BREG.
_DSP_LAUNCH = {"PREG": 0.329, "MREG": 1.671, "AREG": 2.952, "BREG": 2.813}


def _dsp(parameters: Parameters) -> CellDelays:
    """Return the delays of a DSP48E1 that multiplies, with what registers its parameters say."""
    used = {name for name in _DSP_LAUNCH if number(parameters, name)}
    capture: dict[str, Figure] = {}
    through: Arcs = {}
    launches = [_xray(ns) for name, ns in _DSP_LAUNCH.items() if name in used]
    launch = each(("P", "PCOUT"), launches[0]) if launches else {}
    for pin, (own, middle, last) in _DSP_SETUP.items():
        pins = _DSP_PINS[pin]
        if f"{pin}REG" in used:
            capture |= each(pins, _xray(own))
            launch[f"{pin}COUT"] = Figure(_DSP_LAUNCH["PREG"], f"{ASSUMED}as P from PREG ({_XRAY})")
        elif used & {"MREG", "PREG"}:
            capture |= each(pins, _xray(middle if "MREG" in used else last))
        else:
            through |= {(name, out): _xray(_DSP_THROUGH[pin]) for name in pins for out in ("P", "PCOUT")}
    for pin, to_register in (("C", 1.244), ("PCIN", 1.025), ("CARRYIN", 1.244)):
        if "PREG" in used:
            capture[pin] = _xray(to_register)
        else:
            through |= {(pin, out): _xray(_DSP_THROUGH["C"]) for out in ("P", "PCOUT")}
    return CellDelays(
        launch=launch,
        capture=capture | each(dsp_controls(), _xray(0.324)),
        through=through,
        inside=_inside(used),
        ignored=DSP_IGNORED,
    )


def _inside(used: set[str]) -> Figure | None:
    """Return the period that paths between a DSP48E1's own registers need."""
    first = bool(used & {"AREG", "BREG"})
    why = f"{_XRAY}, clock to P without a register behind less its clock to output"
    if first and "MREG" in used:
        return Figure(round(2.952 - 1.671 + 0.329, 3), why)
    if first and "PREG" in used:
        return Figure(2.952, why)
    return Figure(1.671, why) if {"MREG", "PREG"} <= used else None


def _lut_memory(letters: str) -> CellDelays:
    """Return the delays of memory in look-up tables with a port for each letter; the last one is written."""
    return CellDelays(
        launch=each((f"DO{n}" for n in letters), _xray(1.190)),
        capture={
            **each((f"DI{n}" for n in letters), _xray(0.461)),
            "WE": _xray(0.654),
            f"ADDR{letters[-1]}": _xray(0.362),
        },
        through={(f"ADDR{n}", f"DO{n}"): _READ for n in letters},
        ignored=frozenset({"WCLK"}),
    )


def _single(multiplexers: int) -> CellDelays:
    """Return the delays of a memory of one data bit that has so many multiplexers behind its look-up tables."""
    read = _xray(round(_READ.ns + 0.296 * multiplexers, 3))
    return CellDelays(
        launch=each(("O", "SPO", "DPO"), _xray(1.190)),
        capture={"D": _xray(0.453), "WE": _xray(0.654), "A": _xray(0.362)},
        through={("A", "O"): read, ("A", "SPO"): read, ("DPRA", "DPO"): read},
        ignored=frozenset({"WCLK"}),
    )


_SHIFT = CellDelays(
    launch=each(("Q", "Q15", "Q31"), _xray(1.472)),
    capture={"D": _xray(0.173), "CE": _xray(0.109)},
    through={("A", "Q"): _READ},
    ignored=frozenset({"CLK"}),
)
_SEVENTH_INPUT = CellDelays(through={("I0", "O"): _xray(0.217), ("I1", "O"): _xray(0.223), ("S", "O"): _xray(0.296)})
_EIGHTH_INPUT = CellDelays(through={("I0", "O"): _xray(0.104), ("I1", "O"): _xray(0.094), ("S", "O"): _xray(0.273)})

_BASE, _DOUBLING = fitted_nets(_ROUTED_NETS)
_FIT = f"least squares over {len(_ROUTED_NETS)} nets of {_REPORT}"
_NETS = NetDelays(
    base=Figure(_BASE, _FIT),
    doubling=Figure(_DOUBLING, _FIT),
    block=Figure(round(_TO_BLOCK[1] - _BASE - _DOUBLING * 4.17, 3), f"a net of 18 loads of {_REPORT}, less such a net"),
    packed={
        ("look-up", "register"): Figure(
            0.0, f"{ASSUMED}the look-up table's output is the register's input of its slice"
        ),
        ("carry", "register"): Figure(0.0, f"{ASSUMED}as from a look-up table"),
        ("look-up", "carry"): Figure(0.0, f"{ASSUMED}as to a register: wires inside of a slice"),
        ("carry out", "carry in"): _report(0.0),
        ("look-up", "multiplexer"): Figure(0.0, f"{ASSUMED}as to a register: wires inside of a slice"),
        ("multiplexer", "multiplexer"): Figure(0.0, f"{ASSUMED}as to a register: wires inside of a slice"),
        ("cascade", "cascade"): Figure(0.0, f"{ASSUMED}dedicated wires between neighbouring DSP blocks"),
    },
)

_LOOK_UPS = ("INV", *(f"LUT{n}" for n in range(1, 7)))
_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
_NARROW = ("RAM32X1S", "RAM32X1D", "RAM64X1S", "RAM64X1D")
#: Memories of one data bit in several look-up tables, by the multiplexers behind these.
_DEEP = {"RAM128X1S": 1, "RAM128X1D": 1, "RAM256X1S": 2}
_CELLS: Cells = {
    **dict.fromkeys(_LOOK_UPS, look_up(("I",), "O", _LOOK_UP)),
    **dict.fromkeys(_FLIP_FLOPS, _REGISTER),
    "CARRY4": _CHAIN,
    "MUXF7": _SEVENTH_INPUT,
    "MUXF8": _EIGHTH_INPUT,
    **dict.fromkeys(("RAM32M", "RAM64M"), _lut_memory("ABCD")),
    **dict.fromkeys(_NARROW, _single(0)),
    **{name: _single(multiplexers) for name, multiplexers in _DEEP.items()},
    **dict.fromkeys(("SRL16E", "SRLC16E", "SRLC32E"), _SHIFT),
    **dict.fromkeys(("RAMB36E1", "RAMB18E1"), _memory),
    "DSP48E1": _dsp,
}
_KINDS = {
    **dict.fromkeys(_LOOK_UPS, "look-up"),
    **dict.fromkeys(_FLIP_FLOPS, "register pin"),
    **{f"{name}.D": "register" for name in _FLIP_FLOPS},
    "CARRY4": "carry",
    "CARRY4.CI": "carry in",
    "CARRY4.CO": "carry out",
    **dict.fromkeys(("MUXF7", "MUXF8"), "multiplexer"),
    **{f"{name}.S": "select" for name in ("MUXF7", "MUXF8")},
    **dict.fromkeys(("RAMB36E1", "RAMB18E1", "DSP48E1"), "block"),
    **{f"DSP48E1.{pin}": "cascade" for pin in ("PCOUT", "PCIN", "ACOUT", "ACIN", "BCOUT", "BCIN")},
}
XC7 = DelayTable(
    part="7 series -1",
    cells=_CELLS,
    kinds=_KINDS,
    nets=_NETS,
    register="FDRE",
    uncertainty=_report(0.067),
)
