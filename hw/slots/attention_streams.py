"""The streams of attention: scores, context, and q, k and v."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Out

from ...sim.engine.words import WORD
from ...sim.flow.operation import ColumnMemory, Done, RowMemory, Way
from ...sim.flow.streams import Stream
from ..flow.jobs import following
from ..parts.connect import connect
from .records import record_layout
from .stream_unit import StreamUnit, foreseen


class ScoresStream(StreamUnit):
    """Scores of a tile: its queries of a head with all keys of that, group after group."""

    stream = Stream.SCORES

    def _stream(self, m: Module, step: Value, works: Value) -> None:
        """Queries by head, keys group after group; to the softmax, or at once to the attention."""
        walk, operands, flow, op = self.walk, self.operands, self.flow, self.op
        of_head = self._pair(m, step, self.settings.key_groups_last, "keys")
        group, last = of_head.number, of_head.last
        heads = flow.engine.max_heads
        _, query_after = self._ring(m, works & walk.end, operands.query_slots, heads, "query")
        query, head = Signal(range(operands.query_slots * heads)), Signal.like(op.head)
        with m.If(works & last):
            m.d.sync += [query.eq(query + 1), head.eq(head + 1)]
        with m.If(works & walk.end):
            m.d.sync += [query.eq(query_after), head.eq(0)]
        key_slot, key_after = self._ring(m, works & self.turn_end, operands.image_slots, operands.key_words, "key")
        key, tables = Signal.like(key_slot), Signal()
        with m.If(works):
            m.d.sync += key.eq(key + 1)
            with m.If(walk.end):
                m.d.sync += key.eq(Mux(walk.tile_end, key_after, key_slot))
            with m.If(self.turn_end):
                m.d.sync += tables.eq(~tables)
        size, per_word = operands.token_words, WORD // flow.engine.columns
        slot, _ = self._ring(m, works & last, flow.attention_slots, size, "attention")
        shift = per_word.bit_length() - 1
        softmax = self.settings.softmax
        m.d.comb += [
            *(op.a_mem.eq(RowMemory.QUERY), connect(op.a_addr, query)),
            *(op.w_mem.eq(ColumnMemory.KEYS), connect(op.w_addr, key)),
            op.way.eq(Mux(softmax, Way.SCORE, Way.SIGN)),
            *(op.dst_mem.eq(RowMemory.ATTENTION), op.dst_addr.eq(slot + (group >> shift))),
            op.dst_chunk.eq(group[:shift]),
            *(connect(op.set, tables), connect(op.head, head)),
        ]
        if self.flow.windows:
            self._bias(m, step, works, works & last)
        self.done[Done.ATTENTION] = last & ~softmax
        self.flags |= {"head_begins": of_head.first_next, "drains": softmax}

    def _bias(self, m: Module, step: Value, works: Value, job_end: Value) -> None:
        """First words of each job's bias, tile by tile and head by head, and of each tile's masks."""
        settings, walk = self.settings, self.walk
        bias, mask = Signal.like(self.op.bias, reset_less=True), Signal.like(self.op.mask, reset_less=True)
        table = self.flow.bias_window
        with m.If(job_end):
            m.d.sync += bias.eq(bias + (settings.biased if table else settings.job_words))
        with m.If(works & walk.end):
            m.d.sync += mask.eq(mask + settings.job_words)
            if table:  # a word of each head, for all tiles
                m.d.sync += bias.eq(self.record.bias)
        with m.If(walk.fresh & ~step):
            m.d.sync += [bias.eq(self.record.bias), mask.eq(settings.first_mask)]
        m.d.comb += [connect(self.op.bias, bias), connect(self.op.mask, mask), connect(self.op.kind, self.record.kind)]


class ContextStream(StreamUnit):
    """Context of a tile: its attention bits of a head with the values of that, group after group."""

    stream = Stream.CONTEXT

    def _stream(self, m: Module, step: Value, works: Value) -> None:
        """Attention by head, values and their sums group after group; bits side by side."""
        walk, operands, flow, op = self.walk, self.operands, self.flow, self.op
        of_head = self._pair(m, step, self.settings.head_groups_last, "values")
        attention, _ = self._ring(m, works & of_head.last, flow.attention_slots, operands.token_words, "attention")
        turn_end = works & self.turn_end
        value_slot, value_after = self._ring(m, turn_end, operands.image_slots, operands.value_words, "value")
        sums_slot, sums_after = self._ring(m, turn_end, operands.image_slots, operands.value_groups, "sums")
        value, sums = Signal.like(value_slot), Signal.like(sums_slot)
        with m.If(works):
            m.d.sync += [value.eq(value + self.setting("steps")), sums.eq(sums + 1)]
            with m.If(walk.end):
                m.d.sync += [
                    value.eq(Mux(walk.tile_end, value_after, value_slot)),
                    sums.eq(Mux(walk.tile_end, sums_after, sums_slot)),
                ]
        word, chunk = self._chunks(m, works, flow.context_slots, operands.context_words, "context")
        m.d.comb += [
            *(op.a_mem.eq(RowMemory.ATTENTION), connect(op.a_addr, attention)),
            *(op.w_mem.eq(ColumnMemory.VALUES), connect(op.w_addr, value)),
            *(op.add_sums.eq(1), connect(op.sums_addr, sums)),
            *(op.way.eq(Way.SIGN), op.dst_mem.eq(RowMemory.BITS)),
            *(connect(op.dst_addr, word), connect(op.dst_chunk, chunk)),
        ]
        self.done[Done.CONTEXT] = walk.end
        self.flags |= {"head_begins": of_head.first_next, "head_ends": of_head.last_next}


class QkvStream(StreamUnit):
    """q, k and v of a tile, of what its lane works on next: k k v until all keys are made, then q q v.

    Members
    -------
    param_addr, eps_addr : Out
        Words of the head's parameters and Eps for HeadNorm.
    tag : Out
        Where its bits go.
    """

    stream = Stream.QKV

    def _more(self) -> dict[str, Any]:
        record = record_layout(self.flow)
        return {
            "param_addr": Out(record["head"].width),
            "eps_addr": Out(record["head_eps"].width),
            "tag": Out(data.StructLayout(self.operands.tag)),
        }

    def _of_values(self, comes: Value) -> Value:
        """Whether values are made next, where they would be in their turn."""
        return comes

    def _stream(self, m: Module, step: Value, works: Value) -> None:
        """Two operations of sums, then one of values; each with places of its own."""
        walk, operands, flow, op = self.walk, self.operands, self.flow, self.op
        self._weights(m, step)
        place = Signal(range(3))
        is_value = Signal()
        with m.If(step):
            m.d.sync += place.eq(following(place, 3))
        value_next = foreseen(m, is_value, self._of_values(Mux(step, place == 1, is_value)))
        of_head = self._pair(m, step & ~is_value, self.settings.head_groups_last, "heads")
        group, last = of_head.number, of_head.last
        head_over = Signal()  # the slot is a head's last one
        m.d.sync += head_over.eq(of_head.last_next & ~value_next & ~walk.coming.lagging)
        head_end = self.take & head_over
        is_query, query_next, head_last = self._heads(m, head_end)
        norm, _ = self._ring(m, works & walk.end, flow.norm_slots, operands.embed_words, "norm")
        head_norm = self.settings.head_norm
        address = self._places(m, works, head_end & self.works, is_query, is_value)
        sums = ~is_value & head_norm
        rows = is_value | (~is_query & ~head_norm)
        m.d.comb += [
            *(op.a_mem.eq(RowMemory.NORM), connect(op.a_addr, norm), op.w_mem.eq(ColumnMemory.WEIGHTS)),
            op.way.eq(Mux(sums, Way.HEAD, Mux(rows, Way.ROWS, Way.SIGN))),
            op.dst_mem.eq(Mux(is_value, ColumnMemory.VALUES, Mux(is_query, RowMemory.QUERY, ColumnMemory.KEYS))),
            *(connect(op.dst_addr, address), op.dst_chunk.eq(group[: len(op.dst_chunk)])),
            *(op.first.eq(walk.tile_first), connect(op.end, last)),
            *(self.tag.key.eq(~is_query), connect(self.tag.token, walk.token)),
            self.tag.addr.eq(address[: len(self.tag.addr)]),
            self.tag.done.eq(head_last & (is_query | walk.tile_end)),
        ]
        self.done[Done.VALUES] = is_value & self.turn_end
        self.done[Done.KEYS] = rows & ~is_value & last & head_last & walk.tile_end
        self.done[Done.QUERY] = ~head_norm & ~is_value & is_query & last & head_last
        self.flags |= {
            "head_begins": of_head.first_next & ~value_next,
            "drains": ~value_next & head_norm,
            "rows": value_next | (~query_next & ~head_norm),
        }
        param, eps = Signal.like(self.param_addr), Signal.like(self.eps_addr)
        m.d.comb += [connect(self.param_addr, param), connect(self.eps_addr, eps)]
        with m.If(head_end):
            m.d.sync += [param.eq(param + self.settings.head_words), eps.eq(eps + 1)]
        starts = [Signal.like(value, name=f"{name}_start") for name, value in (("param", param), ("eps", eps))]
        # A tile's last slots are of values, so that the last head has ended before.
        with m.If(step & walk.end):
            m.d.sync += [register.eq(start) for register, start in zip((param, eps), starts, strict=True)]
        with m.If(walk.fresh & ~step):
            for register, start, base in zip(
                (param, eps), starts, (self.record.head, self.record.head_eps), strict=True
            ):
                m.d.sync += [register.eq(base), start.eq(base)]

    def _heads(self, m: Module, head_end: Value) -> tuple[Signal, Signal, Signal]:
        """Whether q is made, after k of all heads, and whether it is next; whether the head is the last one."""
        head, is_query, head_last = Signal.like(self.settings.heads_last), Signal(), Signal()
        heads_last = self.settings.heads_last
        with m.If(head_end):
            m.d.sync += [head.eq(head + 1), head_last.eq(head + 1 == heads_last)]
            with m.If(head_last):
                m.d.sync += [head.eq(0), head_last.eq(heads_last == 0)]
        with m.If(self.hold):
            m.d.sync += head_last.eq(heads_last == 0)
        return is_query, foreseen(m, is_query, is_query ^ (head_end & head_last)), head_last

    def _places(self, m: Module, works: Value, head_end: Value, is_query: Value, is_value: Value) -> Value:
        """First word of what the operation makes: keys and values of the image's slot, queries of the tile's."""
        walk, operands, op = self.walk, self.operands, self.op
        heads = self.flow.engine.max_heads
        tile_end, turn_end = works & walk.end, works & self.turn_end
        _, query_after = self._ring(m, tile_end, operands.query_slots, heads, "query")
        key_slot, key_after = self._ring(m, turn_end, operands.image_slots, operands.key_words, "key")
        value_slot, value_after = self._ring(m, turn_end, operands.image_slots, operands.value_words, "value")
        sums_slot, sums_after = self._ring(m, turn_end, operands.image_slots, operands.value_groups, "sums")
        query, key = Signal(range(operands.query_slots * heads)), Signal.like(key_slot)
        value, sums = Signal.like(value_slot), Signal.like(sums_slot)
        with m.If(head_end & is_query):
            m.d.sync += query.eq(query + 1)
        with m.If(head_end & ~is_query):
            m.d.sync += key.eq(key + self.settings.key_groups_last + 1)
        with m.If(works & is_value):
            m.d.sync += [value.eq(value + self.settings.context_steps), sums.eq(sums + 1)]
        with m.If(tile_end):
            m.d.sync += [
                query.eq(query_after),
                key.eq(Mux(walk.tile_end, key_after, key_slot)),
                value.eq(Mux(walk.tile_end, value_after, value_slot)),
                sums.eq(Mux(walk.tile_end, sums_after, sums_slot)),
            ]
        m.d.comb += connect(op.sums_dst, sums)
        return Mux(is_value, value, Mux(is_query, query, key))
