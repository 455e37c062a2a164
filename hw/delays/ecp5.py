"""Delays of ECP5 at speed grade 6, to measure the model against nextpnr.

Delays of cells are those that nextpnr writes into an _SDF file (`--sdf`, slowest corner), from Project Trellis'
database; those of nets are fitted to routed units by `timing_error`, which tells the error on others.
"""

from __future__ import annotations

from ...sim.errors import check
from .table import (
    ASSUMED,
    Carry,
    CellDelays,
    Cells,
    DelayTable,
    Figure,
    NetDelays,
    Parameters,
    carry_chain,
    each,
    look_up,
)

_SDF = "nextpnr-ecp5 0.11.1, --speed 6 --sdf, slowest corner: Project Trellis' ECP5/timing/speed_6/cells.json"
_FIT = "fitted to routed units by `python -m bivit.hw.synthesis.timing_error fit`"


def _sdf(ns: float) -> Figure:
    return Figure(ns, _SDF)


_LOOK_UP = _sdf(0.236)
_REGISTER = CellDelays(
    launch={"Q": _sdf(0.525)},
    capture={**each(("DI", "M", "CE"), _sdf(0.0)), "LSR": _sdf(0.424)},
    ignored=frozenset({"CLK"}),
)
_CHAIN = CellDelays(
    through=carry_chain(
        2,
        {f"{pin}{{}}": (_LOOK_UP, _sdf(0.447)) for pin in "ABCD"},
        Carry(to_sum=_sdf(0.443), inside=_sdf(0.403), whole=_sdf(0.071)),
        ("CIN", "S{}", "COUT"),
    ),
)
_LUT_MEMORY = CellDelays(
    capture={"DI": _sdf(0.0), "WAD": _sdf(0.0), "WRE": _sdf(0.392)},
    through={("RAD", "DO"): _LOOK_UP},
    ignored=frozenset({"WCK"}),
)


def _memory(parameters: Parameters) -> CellDelays:
    for side in "AB":
        mode = parameters.get(f"REGMODE_{side}", "NOREG")
        check(mode == "NOREG", f"the delays of a DP16KD with REGMODE_{side} {mode!r} are not known; known is NOREG")
    return CellDelays(
        launch={"DOA": _sdf(5.609), "DOB": _sdf(5.830)},
        capture={
            "ADA": _sdf(0.251),
            "ADB": _sdf(0.205),
            "DIA": _sdf(0.218),
            "DIB": _sdf(0.134),
            **each(("WEA", "WEB"), _sdf(0.139)),
            **each(("CSA", "CSB"), _sdf(0.020)),
            **each(("CEA", "CEB"), _sdf(0.211)),
            **each(("OCEA", "OCEB"), _sdf(0.253)),
            **each(("RSTA", "RSTB"), _sdf(0.585)),
        },
        ignored=frozenset({"CLKA", "CLKB"}),
    )


#: A DP16KD that is written on one side and read on the other, in the words of both: nextpnr makes it one.
_TWO_SIDED = CellDelays(
    launch={"DO": _sdf(5.830)},
    capture={
        "ADW": _sdf(0.251),
        "ADR": _sdf(0.205),
        "BE": _sdf(0.251),
        "DI": _sdf(0.218),
        **each(("CSW", "CSR"), _sdf(0.020)),
        **each(("CEW", "CER"), _sdf(0.211)),
        "OCER": _sdf(0.253),
        "RST": _sdf(0.585),
    },
    ignored=frozenset({"CLKW", "CLKR"}),
)


def _two_sided(parameters: Parameters) -> CellDelays:
    mode = parameters.get("REGMODE", "NOREG")
    check(mode == "NOREG", f"the delays of a PDPW16KD with REGMODE {mode!r} are not known; known is NOREG")
    return _TWO_SIDED


def _multiplier(parameters: Parameters) -> CellDelays:
    registers = [name for name in parameters if name.startswith("REG_") and name.endswith("_CLK")]
    used = [name for name in registers if parameters[name] != "NONE"]
    check(
        not used, f"the delays of a MULT18X18D with {', '.join(used)} are not known; known are those without registers"
    )
    return CellDelays(
        through={(name, "P"): _sdf(3.927) for name in ("A", "B", "SIGNEDA", "SIGNEDB", "SOURCEA", "SOURCEB")},
        ignored=frozenset({"C", *(f"{pin}{n}" for pin in ("CLK", "CE", "RST") for n in range(4))}),
    )


_CELLS: Cells = {
    "LUT4": look_up("ABCD", "Z", _LOOK_UP),
    "TRELLIS_FF": _REGISTER,
    "CCU2C": _CHAIN,
    "TRELLIS_DPR16X4": _LUT_MEMORY,
    "DP16KD": _memory,
    "PDPW16KD": _two_sided,
    "MULT18X18D": _multiplier,
}
_KINDS = {
    "LUT4": "look-up",
    "TRELLIS_DPR16X4": "look-up",
    "TRELLIS_FF": "register pin",
    "TRELLIS_FF.DI": "register",
    "CCU2C": "carry",
    "CCU2C.COUT": "carry out",
    "CCU2C.CIN": "carry in",
    "DP16KD": "block",
    "PDPW16KD": "block",
    "MULT18X18D": "block",
}
_NETS = NetDelays(
    base=Figure(0.58, _FIT),
    doubling=Figure(0.09, _FIT),
    block=Figure(1.20, _FIT),
    packed={
        ("look-up", "register"): Figure(0.13, _SDF),
        ("carry", "register"): Figure(0.13, _SDF),
        ("carry out", "carry in"): Figure(0.0, _SDF),
    },
)
ECP5 = DelayTable(
    part="ECP5 speed grade 6",
    cells=_CELLS,
    kinds=_KINDS,
    nets=_NETS,
    register="TRELLIS_FF",
    uncertainty=Figure(0.0, f"{ASSUMED}nextpnr counts none"),
)
