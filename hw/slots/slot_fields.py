"""Fields of the jobs that a slot gives, from the registers of its stream."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from ...sim.flow.config import FlowConfig
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.streams import Stream
from ..flow.jobs import following
from ..parts.connect import connect, connect_address


def residual_job(m: Module, flow: FlowConfig, slots: Any, is_fc2: Value, passes: Value) -> Value:
    """Fill in a job of ResidualAdd; return the word of its Eps.

    Behind proj is the second norm. Behind fc2 is the first norm of the next block; or of the lane's next image, of
    which a tile is read behind the sums of the last block, or in their place; or none.

    Parameters
    ----------
    m : Module
    flow : FlowConfig
    slots : Slots
    is_fc2 : Value
        Whether the slot is of fc2, else of proj.
    passes : Value
        Whether it passes.
    """
    proj, fc2, turns, settings = slots.streams[Stream.PROJ], slots.streams[Stream.FC2], slots.turns, slots.settings
    add, job = ResidualAddUnit(flow), slots.jobs.add
    loads = turns.follows & ~turns.goes_on & fc2.end
    # A bank has a power of two of words. Its number comes with the decision, and a tile's only slot may pass at once.
    if flow.windows:
        load_addr = Cat((turns.next_place + fc2.tile_offset)[: add.place_bits], turns.next_bank)
    else:
        load_addr = Cat(fc2.tile_offset[: add.place_bits], turns.next_bank)[: add.x_addr_bits]  # of one bank no number
    first, second = (
        _staging(m, flow, name, when)
        for name, when in (
            ("staging1", passes & is_fc2 & fc2.end & turns.follows),
            ("staging2", passes & ~is_fc2 & proj.end),
        )
    )
    for name in ("first", "rows", "number", "x_addr", "param_addr"):
        value = Mux(is_fc2, _of(fc2, name), _of(proj, name))
        m.d.comb += job["group" if name == "number" else name].eq(value)
    m.d.comb += [
        job.last.eq(Mux(is_fc2, fc2.end, proj.end)),
        job.sums.eq(~is_fc2 | fc2.works),
        job.load.eq(is_fc2 & loads),
        job.norm.eq(~is_fc2 | turns.goes_on),
        job.final.eq(is_fc2 & fc2.turn_end & fc2.record.last),
        *(connect(job.groups, settings.groups_last), connect(job.load_addr, load_addr)),
        *(connect(job.channels, settings.embed_dim), connect(job.mean, settings.mean), job.ring.eq(~is_fc2)),
        job.slot.eq(Mux(is_fc2, first, flow.staging_slots + second)),
    ]
    if flow.windows:
        m.d.comb += connect(job.token_groups, settings.token_groups)
        m.d.comb += job.theta_addr.eq(Mux(is_fc2, turns.next_layer[: add.theta_addr_bits], proj.theta_addr))
        return Mux(is_fc2, turns.next_block << 1, (proj.record.block << 1) + 1)
    m.d.comb += job.theta_addr.eq(Mux(is_fc2, Mux(turns.goes_on, fc2.theta_addr, 0), proj.theta_addr))
    of_fc2 = Mux(turns.goes_on, (fc2.record.block << 1) + 2, 0)
    return Mux(is_fc2, of_fc2, (proj.record.block << 1) + 1)


def merge_job(m: Module, slots: Any, merges: Value) -> None:
    """Fill in a job of ResidualAdd whose sums are those of a patch merging, in place of what another slot would give.

    Parameters
    ----------
    m : Module
    slots : Slots
    merges : Value
        Whether the slot is of that.
    """
    qkv, job = slots.streams[Stream.QKV], slots.jobs.add
    with m.If(merges):
        m.d.comb += [
            *(job.sums.eq(1), job.load.eq(0), job.norm.eq(0), job.fresh.eq(1)),
            *(connect(job.first, qkv.first), connect(job.last, qkv.end), connect(job.rows, qkv.op.rows)),
            *(connect(job.group, qkv.number), connect(job.x_addr, qkv.x_addr)),
            *(connect(job.param_addr, qkv.layer_addr), connect(job.final, qkv.turn_end)),
        ]


def head_job(m: Module, slots: Any) -> Value:
    """Fill in a job of HeadNorm; return the word of its Eps.

    Parameters
    ----------
    m : Module
    slots : Slots
    """
    qkv, settings, job = slots.streams[Stream.QKV], slots.settings, slots.jobs.head
    m.d.comb += [
        *(connect(job.rows, qkv.op.rows), connect(job.channels, settings.head_dim)),
        *(connect_address(job.param_addr, qkv.param_addr), connect(job.tag, qkv.tag.as_value())),
    ]
    return qkv.eps_addr


def _of(stream: Any, name: str) -> Value:
    return stream.op.rows if name == "rows" else getattr(stream, name)


def _staging(m: Module, flow: FlowConfig, name: str, passes: Value) -> Signal:
    """The slot of the staged x that the next tile takes."""
    slot = Signal(range(flow.staging_slots), name=name)
    with m.If(passes):
        m.d.sync += slot.eq(following(slot, flow.staging_slots))
    return slot
