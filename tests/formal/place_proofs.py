"""Where tokens of networks with windows lie: walks over them, and rows of x side by side from parts of a bank."""

from __future__ import annotations

from functools import partial
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from proving import Fault, Harness, Proof, assume, assume_constant, before, claim
from windowed import tiny_swin, windowed_for

from bivit.hw.edge import place_walk
from bivit.hw.edge.token_walk import STEPS
from bivit.hw.slots import x_rows
from bivit.sim.engine.words import Memory
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.residual_add import ResidualAddUnit

#: Bits of a word of x, of what the edge writes together, and words of a part: as few as tell words from others.
_WORD_BITS, _CHUNKS, _DEPTH = 4, 2, 4
#: Bits of the number of a token.
_TOKEN_BITS = 6


def flow_for(side: int) -> FlowConfig:
    """An engine with so many rows of x side by side."""
    return windowed_for([tiny_swin(img_size=8, depths=(1,), num_heads=(1,))], columns=8, rows=4, norm_lanes=8 * side)


def tokens(m: Module, h: Any, bits: int) -> tuple[Signal, Signal]:
    """Number of the token that a walk is at, and of the one that it keeps, by what it is told."""
    now, kept, following = (Signal(bits, name=f"{name}_token") for name in ("now", "kept", "following"))
    m.d.comb += following.eq(Mux(h.start, 0, now + h.step))
    m.d.sync += now.eq(Mux(h.back & ~h.keep & ~h.start, kept, following))
    with m.If(h.keep | h.start):
        m.d.sync += kept.eq(following)
    return now, kept


def strides(side: int) -> Harness:
    """Tokens of the last stage: in the parts of a bank in turn, and so on behind these."""
    unit = EdgeUnit(flow_for(side))
    add = ResidualAddUnit(unit.flow)
    low, high = (add.part_words - 1).bit_length(), (add.parts_of_bank - 1).bit_length()

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = place_walk.StrideWalk(unit)
        m.d.comb += [getattr(dut, name).eq(getattr(h, name)) for name in (*STEPS, "base", "stride")]
        begun, base, stride = Signal(), Signal.like(h.base), Signal.like(h.stride)
        assume(m, h.base[: low + high] == 0)
        assume(m, h.start | (h.stride == stride))
        with m.If(h.start):
            m.d.sync += [begun.eq(1), base.eq(h.base), stride.eq(h.stride)]
        now, kept = tokens(m, h, _TOKEN_BITS)
        # The tokens of an image lie in its bank.
        assume(m, ~(h.step & now.all()))
        for number in (now, kept):
            assume(m, (number >> high) * stride < add.part_words)

        def place(number: Value) -> Value:
            slot = (number >> high) * stride
            return Cat(slot[:low], number[:high], base[low + high :])

        with m.If(begun):
            claim(m, "addr", (dut.addr == place(now)) & ~dut.row)
            claim(m, "kept", h.kept_addr == place(kept))

    free = {**dict.fromkeys(STEPS, 1), "base": unit.x_addr_bits, "stride": 3}
    return Harness(free, body, {"kept_addr": (unit.x_addr_bits, "dut.kept_addr")})


def looked_up(side: int) -> Harness:
    """Tokens of the first stage: each where the memory of places says, in the bank of the image."""
    unit = EdgeUnit(flow_for(side))
    spec = unit.load_memories["patch_places"]
    size = (unit.bank_words - 1).bit_length()

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = place_walk.PlaceWalk(unit)
        m.d.comb += [getattr(dut, name).eq(getattr(h, name)) for name in (*STEPS, "base")]
        assume(m, h.base[:size] == 0)
        begun, base = Signal(), Signal.like(h.base)
        with m.If(h.start):
            m.d.sync += [begun.eq(1), base.eq(h.base)]
        bits = (spec.depth - 1).bit_length()
        now, kept = tokens(m, h, bits)
        with m.If(begun):
            claim(m, "token", (h.token == now) & (h.kept_token == kept) & (h.place == now))
            claim(m, "bank", (h.of_image == base) & (base[:size] == 0))
            claim(m, "place", dut.addr == Cat(h.word, base[size:]))

    token = (spec.depth - 1).bit_length()
    inner = {"token": (token, "dut.now_token"), "kept_token": (token, "dut.kept_token")}
    inner |= {"place": (token, "dut.patch_places.r_addr"), "word": (size, "dut.patch_places.r_data")}
    inner["of_image"] = (unit.x_addr_bits, "dut.base$#")
    return Harness({**dict.fromkeys(STEPS, 1), "base": unit.x_addr_bits}, body, inner)


class _SmallRows(ResidualAddUnit):
    """Rows of x in few and narrow words."""

    @property
    def x_memory(self) -> Memory:
        return Memory(_WORD_BITS, _DEPTH)


def rows(side: int, banks: int) -> Harness:
    """One word of x, whichever: what its readers see is what was written last, wherever its part lies."""
    unit = _SmallRows(windowed_for([tiny_swin()], columns=8, rows=4, norm_lanes=8 * side, together=1, edge_banks=1))
    assert unit.banks == banks
    part_bits, parts = (unit.part_words - 1).bit_length(), unit.parts_of_bank
    bank_at = part_bits + (parts - 1).bit_length()
    addr, late, edge_late = unit.x_addr_bits, unit.read_cycles, unit.x_cycles

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = x_rows.XRows(unit, unit.row_lanes // _CHUNKS)
        reads = [getattr(h, f"read_{row}") for row in range(side)]
        writes = [getattr(h, f"write_{row}") for row in range(side)]
        data = [getattr(h, f"data_{row}") for row in range(side)]
        m.d.comb += [
            *(port.eq(value) for port, value in zip(dut.read.addr, reads, strict=True)),
            *(port.eq(value) for port, value in zip(dut.write.addr, writes, strict=True)),
            *(dut.read.en.eq(h.read_en), dut.write.en.eq(h.write_en), dut.write.data.eq(Cat(data))),
            *(dut.edge_read.addr.eq(h.edge_read), dut.norm_read.en.eq(h.norm_en), dut.norm_read.addr.eq(h.norm_read)),
            *(dut.edge_write.en.eq(h.edge_en), dut.edge_write.addr.eq(h.edge_write)),
            *(dut.edge_write.data.eq(h.edge_data), dut.norm_write.en.eq(h.norm_write_en)),
            *(dut.norm_write.addr.eq(h.norm_write), dut.norm_write.data.eq(h.norm_data)),
        ]
        assume_constant(m, h.word, "word")
        for one in (h.word, *reads, *writes, h.edge_read, h.edge_write, h.norm_read, h.norm_write):
            assume(m, one[bank_at:] < banks)
        # Rows side by side are of one image, in other parts; the edge has images of its own.
        assume(m, Cat(one[bank_at:] == reads[0][bank_at:] for one in reads).all())
        _apart(m, part_bits, [(h.read_en, one) for one in reads] + [(h.norm_en, h.norm_read), (1, h.edge_read)])
        writers = [(h.write_en[row], one) for row, one in enumerate(writes)]
        _apart(m, part_bits, [*writers, (h.norm_write_en, h.norm_write), (h.edge_en.any(), h.edge_write)])
        content, written = Signal(_WORD_BITS, reset_less=True), Signal()
        for (en, one), value in zip([*writers, (h.norm_write_en, h.norm_write)], [*data, h.norm_data], strict=True):
            with m.If(en & (one == h.word)):
                m.d.sync += content.eq(value)
                m.d.comb += written.eq(1)
        for chunk in range(_CHUNKS):
            with m.If(h.edge_en[chunk] & (h.edge_write == h.word)):
                m.d.sync += content.word_select(chunk, _WORD_BITS // _CHUNKS).eq(h.edge_data)
                m.d.comb += written.eq(1)
        store = Array([getattr(h, f"store_{k}") for k in range(banks * parts * _DEPTH)])
        claim(m, "content", store[h.word] == content)
        for row, one in enumerate(reads):
            seen = before(m, h.read_en & (one == h.word) & ~written, late, f"seen_{row}", reset_less=False)
            value = dut.read.data.word_select(row, _WORD_BITS)
            claim(m, f"row_{row}", ~seen | (value == before(m, content, late, f"content_{row}")))
        for name, en, one, port in (
            ("edge", 1, h.edge_read, dut.edge_read),
            ("norm", h.norm_en, h.norm_read, dut.norm_read),
        ):
            seen = before(m, en & (one == h.word) & ~written, edge_late, f"seen_{name}", reset_less=False)
            claim(m, name, ~seen | (port.data == before(m, content, edge_late, f"content_{name}")))

    free = {"word": addr, "read_en": 1, "write_en": side, "edge_read": addr, "norm_en": 1, "norm_read": addr}
    free |= {"edge_en": _CHUNKS, "edge_write": addr, "edge_data": _WORD_BITS // _CHUNKS}
    free |= {"norm_write_en": 1, "norm_write": addr, "norm_data": _WORD_BITS}
    free |= {f"{name}_{row}": addr for name in ("read", "write") for row in range(side)}
    free |= {f"data_{row}": _WORD_BITS for row in range(side)}
    inner = {
        f"store_{part * _DEPTH + k}": (_WORD_BITS, f"dut.part_{part}[{k}]")
        for part in range(banks * parts)
        for k in range(_DEPTH)
    }
    return Harness(free, body, inner)


def _apart(m: Module, part_bits: int, ports: list[tuple[Any, Value]]) -> None:
    """Assume that no two ports want the same part."""
    for number, (en, one) in enumerate(ports):
        for other_en, other in ports[:number]:
            assume(m, ~(Value.cast(en) & other_en & (one >> part_bits == other >> part_bits)))


PROOFS: dict[str, Proof] = {
    **{
        f"stride_walk_{side}": Proof(
            "hw/edge/place_walk.py",
            "`StrideWalk`: token n is in part n modulo the parts of the bank, and a stride further in each for all of "
            "them; back to the one that was kept",
            f"{side} row{'s' * (side > 1)} side by side",
            partial(strides, side),
            1,
        )
        for side in (1, 2)
    },
    "place_walk": Proof(
        "hw/edge/place_walk.py",
        "`PlaceWalk`: a token is where its word of the memory of places says, in the bank of its image; back to the "
        "one that was kept",
        "2 rows side by side",
        partial(looked_up, 2),
        1,
    ),
    **{
        f"x_rows_{side}": Proof(
            "hw/slots/x_rows.py",
            "what any of its readers gets is what was written last to that word, by any writer, in any part of any "
            "bank; latencies",
            f"{side} row{'s' * (side > 1)} side by side, 2 banks, 4 words a part",
            partial(rows, side, 2),
            4,
        )
        for side in (1, 2)
    },
}

FAULTS: dict[str, Fault] = {
    "the part before": Fault("stride_walk_2", place_walk, "(part + 1)[:high]", "(part - 1)[:high]", "addr"),
    "a stride a part": Fault("stride_walk_2", place_walk, "Mux(part == parts - 1, stride, 0)", "stride", "addr"),
    "the bank of the image before": Fault(
        "place_walk", place_walk, "m.d.sync += connect(base, self.base)", "m.d.sync += connect(base, base)", "bank"
    ),
    "a row's part too early": Fault(
        "x_rows_2", x_rows, "delayed(m, part, unit.read_cycles", "delayed(m, part, unit.x_cycles", "row"
    ),
    "the image of the next word": Fault(
        "x_rows_2", x_rows, "delayed(m, bank, unit.x_cycles", "delayed(m, bank, unit.x_cycles - 1", "row"
    ),
    "a writer that is never alone": Fault(
        "x_rows_1",
        x_rows,
        "_one_of([*mine, norms], [*data, self.norm_write.data]",
        "_one_of([*mine, norms], [*data, 0]",
        "content",
    ),
}
