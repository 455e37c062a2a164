"""The slots: each passes as soon as what its operation reads is there and what it makes has room."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ...sim.flow.config import FlowConfig
from ...sim.flow.memories import core_memories
from ...sim.flow.operation import Done, Operands
from ...sim.flow.residual_add import ResidualAddUnit
from ...sim.flow.settings import WEIGHT_PARTS, setting_bits
from ...sim.flow.streams import Stream
from ...sim.timing.replay_state import Cause, causes_of
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.stream import LOAD_BUS
from .attention_streams import ContextStream, QkvStream, ScoresStream
from .issue import Issue, ends_of
from .layer_streams import Fc1Stream, Fc2Stream, ProjStream
from .ledger import Ledger
from .merge_stream import MergeStream
from .slot_fields import head_job, merge_job, residual_job
from .stream_unit import StreamUnit
from .table_walk import TableWalk
from .turns import Turns
from .turns_of_windows import TurnsOfWindows, windows_ports
from .turns_together import TurnsTogether
from .unit_jobs import UnitJobs
from .weights_told import last_read, tell_weights, weights_missing, weights_ports

#: Pulses of other units, see `Slots`.
PULSES = ("embedded", "staging_free", "score_free", "sums_read", "head_read", "tables_full", "bits_full")
#: What a slot waits for, by cause: flags that are high where it is missing.
Missing = dict[Cause, Signal]


class Slots(Component):
    """The table's slots in order, each given to the array, or passed where its lane has nothing to do.

    Timing: `sim.timing.array`, exactly: what a pulse gives in a cycle can be used by a slot in the next one, and an
    operation is at the port in the cycle after its slot. The first slot is at hand `TABLE_FILL_CYCLES` after
    `hold` has fallen.

    Numerics: none.

    Parameters
    ----------
    flow : FlowConfig

    Members
    -------
    hold : In(1)
        Begin again.
    settings : In
        Of the network.
    embedded : In(1)
        Pulse: one more image is embedded.
    norm_full : In(2)
        Pulse: a tile of norm1, of norm2 is complete.
    staging_free, staging_slot : In
        Pulse: which slot of the staged x has been read.
    done : In
        Pulses of the array: what its bits complete.
    bits_full, score_free : In(1)
        Pulses of the softmax: attention bits of a tile and head are complete; a slot of scores is free.
    sums_read, head_read : In(1)
        Pulses: a slot of the sums of ResidualAdd, and of HeadNorm, is free.
    tables_full : In(1)
        Pulse: a turn's tables of Exp are there.
    en, op : Out
        An operation for the array.
    norm_free : Out(2)
        Pulse: a slot of norm1, of norm2 is free.
    attention_freed : Out(1)
        Pulse: a slot of the attention is free.
    add_put, add_job, head_put, head_job : Out
        Jobs for ResidualAdd and HeadNorm.
    table_put, table_first : Out
        A turn whose tables of Exp are to be loaded, and their first word.
    stalls : Out
        By `Cause`, whether the array stood still for it; only the total matters.
    load, bank : In
        Load bus, and the bank in use.
    weights_there, weights_opened, weights_wait, weights_read : In, Out, Out, Out
        Of streamed weights, by kind of `WeightPart`: the next ones are there; pulse: a stream has begun with them. The
        slot at hand waits for some. With windows, words that have been read for the last time.
    window_there, window, window_take : In, In, Out
        With windows: of `TurnsOfWindows`, `there`, `window` and `take`.
    """

    def __init__(self, flow: FlowConfig):
        self.flow, self.operands = flow, Operands(flow)
        kind = TurnsOfWindows if flow.windows else TurnsTogether if flow.streamed else Turns
        self.turns: Any = kind(flow)
        self.issue, self.ledger, self.jobs = Issue(flow), Ledger(flow), UnitJobs(flow)
        self.causes = causes_of(flow.streamed)
        self.table = TableWalk(core_memories(flow)["slots"], based=flow.windows is not None)
        qkv = MergeStream if flow.windows else QkvStream
        kinds = (ScoresStream, ContextStream, ProjStream, Fc1Stream, Fc2Stream, qkv)
        self.streams: list[Any] = [kind(flow) for kind in kinds]
        members = self.jobs.signature.members
        super().__init__(
            {
                "hold": In(1),
                "settings": In(data.StructLayout(setting_bits(flow))),
                **{name: In(1) for name in PULSES},
                "norm_full": In(2),
                "staging_slot": In(ResidualAddUnit(flow).slot_bits),
                "done": In(len(Done)),
                "en": Out(1),
                "op": Out(data.StructLayout(self.operands.fields)),
                "norm_free": Out(2),
                "attention_freed": Out(1),
                **{name: members[name] for name in ("add_put", "add_job", "head_put", "head_job")},
                "table_put": Out(1),
                "table_first": Out(len(self.turns.table)),
                "stalls": Out(len(self.causes)),
                "load": In(LOAD_BUS),
                "bank": In(1),
                **weights_ports(flow),
                **windows_ports(flow),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire the streams, and let the slot at hand pass."""
        m = Module()
        m.submodules.table, m.submodules.turns, m.submodules.issue = self.table, self.turns, self.issue
        m.submodules.ledger, m.submodules.jobs = self.ledger, self.jobs
        take, works = Signal(len(Stream)), Signal(len(Stream))
        for number, unit in enumerate(self.streams):
            m.submodules[unit.stream.name.lower()] = unit
            m.d.comb += [
                *(connect(unit.settings, self.settings), connect(unit.hold, self.hold)),
                *(connect(unit.take, take[number]), connect(self.turns.turn[number], unit.turn)),
                connect(unit.record.as_value(), self.turns.record[number].as_value()),
                self._valid(unit, self.turns.valid[number]),
                connect(self.issue.ops[number].as_value(), unit.op.as_value()),
                works[number].eq(take[number] & unit.works),
            ]
        missing = [self._missing(m, unit) for unit in self.streams]
        if self.flow.streamed:
            tell_weights(m, self, take, missing)
        hand, asks, passes = self.table.hand, Signal(len(Stream)), take.any()
        # What has nothing to do passes while the array works.
        busy = Cat(unit.works for unit in self.streams) & (~self.issue.free).replicate(len(Stream))
        skip, skip_next = self._skip(m)
        # Beside the hand, which chooses the operation: what decides has few loads.
        m.d.sync += asks.eq(Mux(skip_next, 0, self.table.hand_next))
        m.d.comb += [
            take.eq(asks & ~busy & Cat(~Cat(*of.values()).any() for of in missing)),
            *(connect(self.table.hold, self.hold), self.table.last.eq(self.settings.table_last)),
            *(connect(self.table.load, self.load), connect(self.table.bank, self.bank), self.table.take.eq(passes)),
        ]
        self._lanes(m, take, hand)
        if self.flow.windows:
            self._windows(m)
        self._give(m, self._issue(m, take, works))
        self._take(m, take, works)
        self._jobs(m, take, works)
        self._stalls(m, missing, skip | (passes & ~works.any()))
        return m

    def _valid(self, unit: StreamUnit, valid: Value) -> Value:
        """Tell a stream whether its lane works on something; in a patch merging only one has work."""
        if self.flow.windows and unit.stream is not Stream.QKV:
            return unit.valid.eq(valid & ~self.settings.merges)
        return connect(unit.valid, valid)

    def _windows(self, m: Module) -> None:
        """What lanes take, and where the table begins."""
        m.d.comb += [
            *(connect(self.turns.there, self.window_there), connect(self.window_take, self.turns.take)),
            connect(self.turns.window.as_value(), self.window.as_value()),
            connect(self.table.base, self.settings.first_slots),
        ]

    def _skip(self, m: Module) -> tuple[Signal, Value]:
        """Where no stream has anything to do, all leave out a tile; known a cycle late, which `spare` allows."""
        skip = Signal()
        # Behind fc2 of a lane without an image, tiles of a new one may have to be read.
        spare = Cat(unit.spare for unit in self.streams).all() & ~self.turns.follows
        skip_next = spare & self.settings.skips
        m.d.sync += skip.eq(skip_next)
        for unit in self.streams:
            m.d.comb += connect(unit.skip, skip)
        return skip, skip_next

    def _lanes(self, m: Module, take: Value, hand: Value) -> None:
        """What a lane works on next is decided when fc2 begins a turn."""
        turns, fc2, qkv = self.turns, self.streams[Stream.FC2], self.streams[Stream.QKV]
        m.d.comb += [
            *(connect(turns.settings, self.settings), connect(turns.embedded, self.embedded)),
            turns.settled.eq(fc2.settled & fc2.fresh),
            turns.asked.eq(hand[Stream.FC2] & fc2.fresh & fc2.ready),
            turns.began.eq(take[Stream.FC2] & fc2.fresh),
            turns.taken.eq(take[Stream.QKV] & qkv.fresh),
            *(connect(self.table_put, turns.table_put), connect(self.table_first, turns.table)),
        ]

    def _issue(self, m: Module, take: Value, works: Value) -> Value | None:
        """Give the array the operation of the slot that passes; return how many words of weights it reads."""
        issue = self.issue
        scores, context, proj, fc1, fc2, qkv = self.streams
        frees = {
            "norm1": take[Stream.QKV] & qkv.ends,
            "norm2": take[Stream.FC1] & fc1.ends,
            "query": take[Stream.SCORES] & scores.ends,
            "keys": take[Stream.SCORES] & scores.closes,
            "values": take[Stream.CONTEXT] & context.closes,
            "attention": take[Stream.CONTEXT] & context.head_ends,
            "context": take[Stream.PROJ] & proj.ends,
            "hidden": take[Stream.FC2] & fc2.ends,
        }
        held = None
        if self.flow.weight_ring:
            frees["weights"], held = last_read(m, self, works)
        m.d.comb += [
            *(connect(issue.hand, self.table.hand), issue.begin.eq(works.any())),
            issue.sums.eq((take & Cat(unit.drains for unit in self.streams)).any()),
            issue.rows.eq((take & Cat(unit.rows for unit in self.streams)).any()),
            issue.frees.eq(Cat(frees[name] for name in ends_of(self.flow))),
            *(connect(self.en, issue.en), connect(self.op.as_value(), issue.op.as_value())),
        ]
        return held

    def _give(self, m: Module, words: Value | None) -> None:
        """Count what other units complete and free, and what an operation has read."""
        give, done = self.ledger.give, {what: self.done[what] for what in Done}
        ended = dict(zip(ends_of(self.flow), self.issue.ended, strict=True))
        of_norm2 = self.staging_slot >= self.flow.staging_slots
        gives = {
            "norm1_full": self.norm_full[0],
            "norm2_full": self.norm_full[1],
            "query_full": done[Done.QUERY],
            "keys_full": done[Done.KEYS],
            "values_full": done[Done.VALUES],
            "attention_full": done[Done.ATTENTION] | self.bits_full,
            "context_full": done[Done.CONTEXT],
            "hidden_full": done[Done.HIDDEN],
            "tables_full": self.tables_full,
            "staging1_room": self.staging_free & ~of_norm2,
            "staging2_room": self.staging_free & of_norm2,
            "residual_room": self.sums_read,
            "head_room": self.head_read,
            "score_room": self.score_free,
            **{f"{name}_room": ended[name] for name in ("query", "keys", "values", "context", "hidden")},
            # The softmax counts the slots that it fills itself.
            "attention_room": ended["attention"] & ~self.settings.softmax,
        }
        m.d.comb += [
            *(give[name].eq(value) for name, value in gives.items()),
            self.norm_free.eq(Cat(ended["norm1"], ended["norm2"])),
            connect(self.attention_freed, ended["attention"]),
        ]
        if words is not None:
            m.d.sync += self.weights_read.eq(Mux(ended["weights"], words, 0))

    def _take(self, m: Module, take: Value, works: Value) -> None:
        """Let a slot that passes take what it reads, once, and room for what it makes."""
        fc2, qkv = self.streams[Stream.FC2], self.streams[Stream.QKV]
        softmax = self.settings.softmax
        begins, opens, heads = (
            {unit.stream: take[number] & getattr(unit, name) for number, unit in enumerate(self.streams)}
            for name in ("begins", "opens", "head_begins")
        )
        makes_begin, makes_open = self._makes(begins[Stream.QKV]), self._makes(opens[Stream.QKV])
        sums = works[Stream.PROJ] | works[Stream.FC2]
        takes = {
            "norm1_full": begins[Stream.QKV],
            "norm2_full": begins[Stream.FC1],
            "query_full": begins[Stream.SCORES],
            "keys_full": opens[Stream.SCORES],
            "tables_full": opens[Stream.SCORES] & softmax,
            "values_full": opens[Stream.CONTEXT],
            "attention_full": heads[Stream.CONTEXT],
            "context_full": begins[Stream.PROJ],
            "hidden_full": begins[Stream.FC2],
            "query_room": makes_begin,
            "keys_room": makes_open,
            "values_room": makes_open,
            "attention_room": heads[Stream.SCORES] & ~softmax,
            "score_room": heads[Stream.SCORES] & softmax,
            "head_room": take[Stream.QKV] & qkv.drains & qkv.head_begins,
            "context_room": begins[Stream.CONTEXT],
            "hidden_room": begins[Stream.FC1],
            "residual_room": sums | (works[Stream.QKV] & self.settings.merges) if self.flow.windows else sums,
            "staging2_room": begins[Stream.PROJ],
            "staging1_room": take[Stream.FC2] & fc2.first & self.turns.follows,
        }
        m.d.comb += [self.ledger.take[name].eq(value) for name, value in takes.items()]

    def _makes(self, flag: Value) -> Value:
        """A flag of qkv, where it makes queries, keys and values."""
        return flag & ~self.settings.merges if self.flow.windows else flag

    def _missing(self, m: Module, unit: StreamUnit) -> Missing:
        """What the next slot of a stream waits for, known a cycle early; nothing, if it is one that begins late."""
        settings, issue, turns = self.settings, self.issue, self.turns
        no = {name: ~self.ledger.some_next[name] for name in self.ledger.slots}
        begins, opens, heads = unit.coming.begins, unit.coming.opens, unit.coming.head_begins
        drain = unit.coming.drains & ~issue.drain_free_next[unit.stream]
        found = {Cause.TURN: ~unit.coming.ready, Cause.DRAIN: drain}
        if unit.stream is Stream.SCORES:
            room = Mux(settings.softmax, no["score_room"], no["attention_room"])
            found |= {
                Cause.OPERAND: begins & no["query_full"],
                Cause.TABLES: opens & settings.softmax & no["tables_full"],
                Cause.KEYS: opens & no["keys_full"],
                Cause.ROOM: heads & room,
            }
        elif unit.stream is Stream.CONTEXT:
            found |= {
                Cause.VALUES: opens & no["values_full"],
                Cause.ATTENTION: heads & no["attention_full"],
                Cause.ROOM: begins & no["context_room"],
            }
        elif unit.stream is Stream.PROJ:
            found |= {
                Cause.OPERAND: begins & no["context_full"],
                Cause.ROOM: (unit.coming.works & no["residual_room"]) | (begins & no["staging2_room"]),
            }
        elif unit.stream is Stream.FC1:
            found |= {Cause.OPERAND: begins & no["norm2_full"], Cause.ROOM: begins & no["hidden_room"]}
        elif unit.stream is Stream.FC2:
            # Room for the norm behind it is needed even where the tile is only read.
            staging = unit.coming.first & turns.follows_next & no["staging1_room"]
            found |= {
                Cause.TURN: ~unit.coming.ready | (unit.coming.fresh & ~turns.decided_next),
                Cause.OPERAND: begins & no["hidden_full"],
                Cause.ROOM: (unit.coming.works & no["residual_room"]) | staging,
            }
        else:
            rings = self._makes((begins & no["query_room"]) | (opens & (no["keys_room"] | no["values_room"])))
            if self.flow.windows:
                rings = rings | (self.settings.merges & unit.coming.works & no["residual_room"])
            found |= {
                Cause.TURN: ~unit.coming.ready | (unit.coming.fresh & ~turns.known_next),
                Cause.OPERAND: begins & no["norm1_full"],
                Cause.ROOM: rings | (unit.coming.drains & heads & no["head_room"]),
                Cause.VALUE_WRITER: unit.coming.rows & ~issue.writer_free_next,
            }
        if self.flow.streamed and unit.stream in WEIGHT_PARTS:
            found[Cause.MEMORY] = weights_missing(self, unit)
        missing = {cause: Signal(name=f"{unit.stream.name.lower()}_{cause.name.lower()}") for cause in found}
        m.d.sync += [missing[cause].eq(flag) for cause, flag in found.items()]
        return missing

    def _jobs(self, m: Module, take: Value, works: Value) -> None:
        """Jobs of ResidualAdd and HeadNorm."""
        jobs, fc2, qkv = self.jobs, self.streams[Stream.FC2], self.streams[Stream.QKV]
        is_fc2 = self.table.hand[Stream.FC2]
        reads = self.turns.follows & ~self.turns.goes_on & fc2.end
        of_fc2 = take[Stream.FC2] & (fc2.works | reads)
        passes = take[Stream.PROJ] & works[Stream.PROJ] | (take[Stream.FC2] & ~fc2.lagging)
        add_eps, head_eps = residual_job(m, self.flow, self, is_fc2, passes), head_job(m, self)
        merges = works[Stream.QKV] & self.settings.merges if self.flow.windows else None
        if merges is not None:
            merge_job(m, self, merges)
        adds = works[Stream.PROJ] | of_fc2
        m.d.comb += [
            *(connect(jobs.load, self.load), connect(jobs.bank, self.bank)),
            jobs.add_en.eq(adds if merges is None else adds | merges),
            jobs.head_en.eq(take[Stream.QKV] & qkv.drains & qkv.head_begins),
            jobs.eps_addr.eq(Mux(self.table.hand[Stream.QKV], head_eps, add_eps)),
        ]
        for name in ("add_put", "add_job", "head_put", "head_job"):
            m.d.comb += getattr(self, name).eq(getattr(jobs, name))

    def _stalls(self, m: Module, missing: list[Missing], ghost: Value) -> None:
        """Why the slot at hand did not pass: the first of its causes counts, each in the order of `Cause`."""
        hand, waits = self.table.hand, Signal(len(self.causes))
        for cause in self.causes:
            flags = [hand[number] & of[cause] for number, of in enumerate(missing) if cause in of]
            idle = [self.turns.idle] if cause is Cause.IDLE else []
            ghosts = [ghost] if cause is Cause.GHOST else []
            m.d.sync += waits[cause].eq(Cat(*flags, *idle, *ghosts).any() & self.issue.free)
        # Waiting for an image is part of waiting for what the turn works on.
        before: list[Value] = []
        for cause in (Cause.IDLE, *(one for one in self.causes if one is not Cause.IDLE)):
            m.d.sync += self.stalls[cause].eq(waits[cause] & ~Cat(*before).any() if before else waits[cause])
            before.append(waits[cause])
