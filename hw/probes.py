"""The ports of an engine that a co-simulation observes, by their hierarchical names in the Verilog."""

from __future__ import annotations

from ..sim.engine.probe import Probe
from ..sim.flow.config import FlowConfig
from ..sim.flow.edge import EdgeUnit
from ..sim.flow.head_norm import HeadNormUnit
from ..sim.flow.residual_add import ResidualAddUnit
from ..sim.flow.sign_norm import SignNormUnit
from ..sim.flow.softmax import SoftmaxUnit
from ..sim.timing.replay_state import causes_of

#: What is decided for a lane, as each turn of fc2 begins: whether it works on something in its next turn.
TURN_PROBE = Probe(
    "turns", "core.slots.turns.began", ("core.slots.turns.follows",), "core.slots.turns.goes_on", 1, 1, False
)


def pass_probe(flow: FlowConfig) -> Probe:
    """Return a probe of the passes that begin, with the cycles without a step so far, as of `stalls_probe`.

    Parameters
    ----------
    flow : FlowConfig
        With windows.
    """
    counts = tuple(f"stalls_{cause.name.lower()}" for cause in causes_of(flow.streamed))
    return Probe("passes", "core.fresh", counts, "core.fresh", 1, 1, False)


def stalls_probe(flow: FlowConfig) -> Probe:
    """Return a probe of cycles without a step so far, by `causes_of`, and of all cycles of the run so far.

    They are taken as ResidualAdd is given a job.

    Parameters
    ----------
    flow : FlowConfig
    """
    counts = (*(f"stalls_{cause.name.lower()}" for cause in causes_of(flow.streamed)), "cycles_count")
    return Probe("stalls", "core.residual_add.put", counts, "core.residual_add.put", 1, 1, False)


def probes(flow: FlowConfig) -> list[Probe]:
    """Return what is compared of an engine; names are relative to the top module.

    x: what ResidualAdd writes; patch_embed, patch_norm: what the edge writes; norm, head_norm, softmax: bits of these
    units; sums: what leaves the array for a unit; signs: bits of a whole tile; rows: bits row by row, to keys and
    values.

    Parameters
    ----------
    flow : FlowConfig
    """
    engine, edge = flow.engine, EdgeUnit(flow)
    residual, sums = engine.formats.residual_bits, flow.drain_rows * engine.columns
    edge_keys, place = (
        ("x_write__en", "x_write__addr"),
        tuple(f"way_signs:dst_{name}" for name in ("mem", "addr", "chunk")),
    )
    tile, rows = engine.rows * engine.columns, flow.value_rows * engine.columns
    add = ResidualAddUnit(flow)
    rows_of_x = tuple(f"x_write__addr__{row}" for row in range(add.side))
    x_keys = ("x_write__en", *rows_of_x) if flow.windows else ("x_write__addr",)
    word = add.row_lanes
    norm = [
        _probe("patch_norm", "edge", "norm_write__en", ("norm_write__addr",), "norm_write__data", residual, word),
    ]
    return [
        *(norm if flow.windows else []),
        _probe("x", "core.residual_add", "x_write__en", x_keys, "x_write__data", residual, add.lanes),
        _probe("patch_embed", "edge", "x_write__en", edge_keys, "x_write__data", residual, edge.chunk),
        _bits("norm", "core.sign_norm", ("ring", "slot", "group", "word"), SignNormUnit(flow).lanes),
        *(
            [_bits("head_norm", "core.head_norm", ("group", "word"), HeadNormUnit(flow).lanes)]
            if flow.has_head_norm
            else []
        ),
        *([_attention(SoftmaxUnit(flow))] if flow.has_softmax else []),
        _probe("sums", "core.array", "sums_en", ("sums_en", "sums_last"), "sums", engine.acc_bits, sums),
        _probe("signs", "core.array", "signs_en", place, "signs", 1, tile, signed=False),
        _probe("rows", "core.array.row_writer", "en", ("token", "here"), "data", 1, rows, signed=False),
    ]


def _attention(unit: SoftmaxUnit) -> Probe:
    """Return a probe of the softmax's bits; a port without bits is none."""
    places = ("bits_slot", *(("bits_row",) if unit.row_groups > 1 else ()), "bits_chunk")
    return _probe("softmax", "core.softmax", "bits_en", places, "bits", 1, unit.lanes, signed=False)


def _bits(name: str, unit: str, keys: tuple[str, ...], elements: int) -> Probe:
    """Return a probe of a unit's bits, which are fields of one signal."""
    fields = tuple(f"bits:{key}" for key in keys)
    return _probe(name, unit, "bits:en", fields, "bits:data", 1, elements, signed=False)


def _probe(
    name: str,
    unit: str,
    enable: str,
    keys: tuple[str, ...],
    data: str,
    bits: int,
    elements: int,
    *,
    signed: bool = True,
) -> Probe:
    within = tuple(f"{unit}.{key}" for key in keys)
    return Probe(name, f"{unit}.{enable}", within, f"{unit}.{data}", elements, bits, signed)
