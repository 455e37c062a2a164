"""The relative position bias of scores, and which pairs may not attend (docs/semantics.md 7)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Member, Out

from ...sim.flow.softmax import BIAS_BITS, MASK_BITS, BiasTable, SoftmaxUnit
from ..parts.arithmetic import choice, delayed
from ..parts.component import Component
from ..parts.connect import connect
from ..parts.memory import LoadableMemory
from ..parts.stream import LOAD_BUS


def bias_ports(unit: SoftmaxUnit) -> dict[str, Member]:
    """Return the ports by which the queue's scores get their bias, by name; none without windows.

    Parameters
    ----------
    unit : SoftmaxUnit
    """
    if unit.flow.windows is None:
        return {}
    bits = {name: max(1, (memory.depth - 1).bit_length()) for name, memory in unit.load_memories.items()}
    return {
        "w_bias": In(bits["bias"]),
        "w_mask": In(bits["masks"]),
        "w_kind": In(MASK_BITS),
        "w_step": In(1),
        "load": In(LOAD_BUS),
        "bank": In(1),
    }


def barred(score: Value) -> Value:
    """Return whether a score is -1, that of a pair that may not attend: others are 0 to 64.

    Parameters
    ----------
    score : Value
        Modulo 128.
    """
    return score[0] & score[-1]


class ScoreBias(Component):
    """Adds to each score of a word its bias, and says which pairs may not attend.

    The words of a job take words of both memories one after the other, or all the same one. Of a table of each head all
    take that of the head, and masks say which word of a window's scores it is.

    Timing: `sums` and `bars` are there `bias_cycles` after `word`; a word a cycle.

    Numerics: exact where a sum is at most 127; that of a pair is 0 to 64.

    Parameters
    ----------
    unit : SoftmaxUnit
        Of an engine with windows.

    Members
    -------
    w_bias, w_mask, w_kind, w_step, load, bank : In
        As of `ScoreQueue`; the first three a cycle before a job's first word.
    en, first, word : In
        A word of scores; of a job the first one.
    sums : Out
        Scores and their bias.
    bars : Out
        Pairs that may not attend.
    """

    def __init__(self, unit: SoftmaxUnit):
        self.unit, self.score_bits = unit, unit.flow.engine.score_bits
        scores = unit.word_scores
        super().__init__(
            {
                **bias_ports(unit),
                "en": In(1),
                "first": In(1),
                "word": In(scores * self.score_bits),
                "sums": Out(data.ArrayLayout(self.score_bits, scores)),
                "bars": Out(scores),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Addresses and kind, beside the word; words of both memories, sums."""
        m = Module()
        unit, late = self.unit, self.unit.bias_cycles
        table = unit.bias_table
        bias = self._read(m, "bias", self._of_job(m, self.w_bias, 0 if table else self.w_step))
        masks = self._read(m, "masks", self._of_job(m, self.w_mask, self.w_step))
        if table:
            bias, masks = self._choose(m, table, bias, masks)
        word = delayed(m, self.word, late, "word_delay")
        kind = delayed(m, self._of_job(m, self.w_kind, 0), late, "kind_delay")
        for number in range(unit.word_scores):
            score = word.word_select(number, self.score_bits)
            m.d.comb += self.sums[number].eq(score + bias.word_select(number, BIAS_BITS))
        bars = ((masks.word_select(number, MASK_BITS) & kind).any() for number in range(unit.word_scores))
        m.d.comb += self.bars.eq(Cat(bars))
        return m

    def _choose(self, m: Module, table: BiasTable, values: Value, masks: Value) -> tuple[Value, Value]:
        """Return the biases of a word out of those of its head, and masks without the place, a cycle late."""
        scores = self.unit.word_scores
        place = masks[MASK_BITS * scores :]
        entries = [values.word_select(number, BIAS_BITS) for number in range(table.entries)]
        found = [
            choice([Const(0, BIAS_BITS) if one is None else entries[one] for one in of_score], place)
            for of_score in zip(*table.chosen, strict=True)
        ]
        return delayed(m, Cat(found), 1, "chosen"), delayed(m, masks[: MASK_BITS * scores], 1, "masks_delay")

    def _of_job(self, m: Module, given: Signal, step: Value | int) -> Value:
        """Return, beside each word, what was given a cycle before the job's first one, and a step more a word."""
        fresh, held = (Signal.like(given, name=f"{given.name}_{name}", reset_less=True) for name in ("fresh", "held"))
        here = Signal.like(given, name=f"{given.name}_here")
        m.d.sync += connect(fresh, given)
        m.d.comb += here.eq(Mux(self.first, fresh, held))
        with m.If(self.en):
            m.d.sync += held.eq(here + step)
        return here

    def _read(self, m: Module, name: str, addr: Value) -> Value:
        """Return the word of a loadable memory, `bias_read_cycles` after its address."""
        m.submodules[name] = store = LoadableMemory(self.unit.load_memories[name])
        m.d.comb += [
            *(connect(store.load, self.load), connect(store.bank, self.bank)),
            connect(store.r_addr, addr),
        ]
        return store.r_data
