"""A bench of the dataflow engine's array: random operations and bits of units, what they must give, and when."""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth.sim import Simulator
from array_model import Memories, to_int

from bivit.hw.array.array_path import ArrayPath
from bivit.sim.engine.words import WORD
from bivit.sim.flow.matmul import MatmulTimes, MatmulUnit
from bivit.sim.flow.operation import ColumnMemory, Done, RowMemory, Way
from helpers import CLK_PERIOD, join, load_memory, signed

#: Words of weights and of preloads that operations use.
LOADED_WORDS = 12


@dataclass
class Bench:
    """One array, and what was seen of it."""

    unit: MatmulUnit
    rng: random.Random
    heads: bool  # queries and keys come from HeadNorm, else from the array
    softmax: bool  # the attention comes from the softmax, else from the array
    gaps: float = 0.3
    seen: dict[str, list[Any]] = field(default_factory=lambda: {"sums": [], "done": [], "writes": []})
    expected: dict[str, list[Any]] = field(default_factory=lambda: {"sums": [], "done": [], "writes": []})
    held: dict[str, np.ndarray] = field(default_factory=dict)  # bits of the parts that units write last

    def __post_init__(self) -> None:
        self.flow, self.engine, self.operands = self.unit.flow, self.unit.flow.engine, self.unit.operands
        rng, columns, bits = self.rng, self.engine.columns, self.engine.acc_bits
        self.weights = np.array([[rng.getrandbits(WORD) for _ in range(columns)] for _ in range(LOADED_WORDS)], object)
        self.starts = np.array([[rng.randint(-150, 10) for _ in range(columns)] for _ in range(LOADED_WORDS)])
        self.memories = Memories(self.unit)
        self.dut = ArrayPath(self.unit)
        self.cycle = 0
        self.words = {
            "weights": [join(word.tolist(), [WORD] * columns) for word in self.weights],
            "preload": [join(word.tolist(), [bits] * columns) for word in self.starts],
        }
        self.drain_gap, self.writer_gap = self.flow.drain_cycles, self.unit.writer_gap
        self.sums_end = self.rows_end = -100

    # Operations.

    def operation(self) -> dict[str, int]:
        """Random fields, within the memories."""
        rng, engine, operands = self.rng, self.engine, self.operands
        steps = rng.choice((1, 1, 2, 3, 4))
        a_mem, w_mem = rng.choice(list(RowMemory)), rng.choice(list(ColumnMemory))
        depths = {
            ColumnMemory.WEIGHTS: LOADED_WORDS,
            ColumnMemory.KEYS: operands.key_depth,
            ColumnMemory.VALUES: operands.value_depth,
        }
        steps = min(steps, operands.row_depths[a_mem], depths[w_mem])
        way = rng.choice(list(Way))
        rows = rng.choice((1, engine.rows, rng.randint(1, engine.rows)))
        token = rng.randrange(engine.max_tokens - rows + 1)
        if way == Way.SIGN:
            memories = [RowMemory.BITS, *([] if self.heads else [RowMemory.QUERY])]
            memory: int = rng.choice([*memories, *([] if self.softmax else [RowMemory.ATTENTION])])
            addr = rng.randrange(operands.row_depths[RowMemory(memory)])
        else:
            memory = rng.choice([ColumnMemory.VALUES, *([] if self.heads else [ColumnMemory.KEYS])])
            last = (token + rows - 1) // (WORD if memory == ColumnMemory.VALUES else engine.columns)
            addr = rng.randrange(depths[ColumnMemory(memory)] - last)
        return {
            "steps": steps,
            "a_mem": a_mem,
            "a_addr": rng.randrange(operands.row_depths[a_mem] - steps + 1),
            "w_mem": w_mem,
            "w_addr": rng.randrange(depths[w_mem] - steps + 1),
            "preload_addr": rng.randrange(LOADED_WORDS),
            "add_sums": int(rng.random() < 0.4),
            "sums_addr": rng.randrange(operands.sums_depth),
            "way": way,
            "dst_mem": memory,
            "dst_addr": addr,
            "dst_chunk": rng.randrange(WORD // engine.columns),
            "token": token,
            "rows": rows,
            "first": int(rng.random() < 0.4),
            "sums_dst": rng.randrange(operands.sums_depth),
            "end": rng.randrange(2),
            "set": rng.randrange(2),
            "head": rng.randrange(engine.max_heads),
            "done": rng.getrandbits(len(Done)),
        }

    def _issue(self, op: dict[str, int], free: int) -> int:
        """When an operation may come: not before the one before is through, and what it leaves by is free."""
        issue = free + (self.rng.randint(1, 6) if self.rng.random() < self.gaps else 0)
        if op["way"] >= Way.RESIDUAL:
            issue = max(issue, self.sums_end + self.drain_gap - op["steps"])
            self.sums_end = issue + op["steps"]
        elif op["way"] == Way.ROWS:
            issue = max(issue, self.rows_end + self.writer_gap - op["steps"])
            self.rows_end = issue + op["steps"]
        return issue

    def program(self, count: int) -> dict[int, dict[str, int]]:
        """Random operations by the cycles in which they come."""
        free, found = self.cycle + 2, {}
        for _ in range(count):
            op = self.operation()
            issue = self._issue(op, free)
            found[issue] = op
            free = issue + op["steps"]
        return found

    # What is expected.

    def expect(self, op: dict[str, int], issue: int) -> None:
        """Compute an operation's sums, and note what it gives and writes."""
        sums = self._sums(op, issue)
        times = self.unit.times(issue, op["steps"], op["rows"])
        if op["way"] == Way.SIGN:
            self._expect_tile(op, times, sums >= 0)
        elif op["way"] == Way.ROWS:
            self._expect_rows(op, times, (sums >= 0)[: op["rows"]])
        else:
            self._expect_sums(op, times, sums)

    def _sums(self, op: dict[str, int], issue: int) -> np.ndarray:
        engine, bits = self.engine, self.engine.acc_bits
        start = self.starts[op["preload_addr"]].copy()
        if op["add_sums"]:
            start += self.memories.sums_at(op["sums_addr"], issue + 1 + self.unit.preload_stage)
        sums = np.tile(start, (engine.rows, 1))
        for step in range(op["steps"]):
            self.memories.until(issue + 1 + step)
            a, at = self.memories.rows[RowMemory(op["a_mem"])][op["a_addr"] + step], op["w_addr"] + step
            if op["w_mem"] == ColumnMemory.WEIGHTS:
                w = np.array([[int(word) >> k & 1 for k in range(WORD)] for word in self.weights[at]])
            else:
                w = self.memories.keys[at] if op["w_mem"] == ColumnMemory.KEYS else self.memories.values[at].T
            sums += (a[:, None] == w[None]).sum(axis=2)
        return (sums + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)

    def _expect_tile(self, op: dict[str, int], times: MatmulTimes, bits: np.ndarray) -> None:
        columns = self.engine.columns
        place = (slice(None), slice(op["dst_chunk"] * columns, (op["dst_chunk"] + 1) * columns))
        self.write_rows(RowMemory(op["dst_mem"]), times.signs, op["dst_addr"], place, bits)
        if op["done"]:
            self.expected["done"].append((times.signs, op["done"]))

    def _expect_rows(self, op: dict[str, int], times: MatmulTimes, bits: np.ndarray) -> None:
        side, columns, values = self.flow.value_rows, self.engine.columns, op["dst_mem"] == ColumnMemory.VALUES
        begin = 0 if values else op["dst_chunk"] * columns
        for row in range(0, op["rows"], side):
            place = (op["dst_addr"], op["token"] + row, begin)
            self.write_tokens(ColumnMemory(op["dst_mem"]), times.rows + row // side, *place, bits[row : row + side])
        if values:
            word = op["sums_dst"]
            old = 0 if op["first"] else self.memories.sums_at(word, times.rows_end)
            self.memories.summed.append((times.rows_end, word, old + bits.sum(axis=0)))
        if op["done"]:
            self.expected["done"].append((times.rows_end, op["done"]))

    def _expect_sums(self, op: dict[str, int], times: MatmulTimes, sums: np.ndarray) -> None:
        side, kind = self.flow.drain_rows, op["way"] - Way.RESIDUAL
        words = self.flow.drain_cycles
        padded = np.zeros((words * side, self.engine.columns), np.int64)
        padded[: self.engine.rows] = sums
        for word in range(words):
            last = word == words - 1
            beside = (op["rows"], op["set"], op["head"])
            found = tuple(padded[word * side : (word + 1) * side].ravel().tolist())
            self.expected["sums"].append((times.sums + word, kind, last, last and bool(op["end"]), *beside, found))

    def write_rows(self, memory: RowMemory, cycle: int, addr: int, place: Any, bits: np.ndarray) -> None:
        """Note a write of some bits of some rows."""
        mask = np.zeros((self.engine.rows, WORD), np.int64)
        mask[place] = 1
        word = np.zeros_like(mask)
        word[place] = bits

        def write() -> None:
            self.memories.rows[memory][addr][place] = bits

        self.memories.later.append((cycle, write))
        self.expected["writes"].append((cycle, memory.name, addr, to_int(mask), to_int(word)))

    def write_tokens(
        self, memory: ColumnMemory, cycle: int, addr: int, token: int, begin: int, bits: np.ndarray
    ) -> None:
        """Note a write of bits of some tokens, the last ones of which may be in the next word."""
        store = self.memories.values if memory == ColumnMemory.VALUES else self.memories.keys
        tokens, width = store.shape[1], bits.shape[1]
        places = [divmod(token + row, tokens) for row in range(len(bits))]

        def write() -> None:
            for (word, slot), row in zip(places, bits, strict=True):
                store[addr + word, slot, begin : begin + width] = row

        self.memories.later.append((cycle, write))
        found = tuple((addr + word, slot, begin, to_int(row)) for (word, slot), row in zip(places, bits, strict=True))
        self.expected["writes"].append((cycle, memory.name, width, found))

    # Bits of units.

    def unit_bits(self) -> dict[str, dict[str, int]]:
        """Random bits of units in this cycle."""
        found = {}
        if self.rng.random() < 0.3:
            found["norm_bits"] = self._norm_bits()
        if self.heads and self.rng.random() < 0.5:
            found["head_bits"] = self._head_bits()
        if self.softmax and self.rng.random() < 0.3:
            found["attention_bits"] = self._attention_bits()
        return found

    def _collected(self, name: str, side: int, columns: int, word: int) -> tuple[int, int, np.ndarray]:
        """Random bits in a word of a row; first column of the part that they are of, and all that is in it so far."""
        part = self.engine.columns
        bits = np.array([[self.rng.randrange(2) for _ in range(columns)] for _ in range(side)])
        first, place = divmod(word * columns, part)
        held = self.held.setdefault(name, np.zeros((side, part), int))
        if place == 0:
            held[:] = 0
        held[:, place : place + columns] = bits
        return to_int(bits), first * part, held.copy()

    def _lanes(self, memory: RowMemory, cycle: int, addr: int, side: int, columns: int, group: int, word: int) -> int:
        """Random bits of a row group in a word of 64 columns, and what they write."""
        rows = self.engine.rows
        bits, first, held = self._collected(memory.name, side, columns, word)
        place = (slice(group * side, min((group + 1) * side, rows)), slice(first, first + self.engine.columns))
        self.write_rows(memory, cycle, addr, place, held[: rows - group * side])
        return bits

    def _norm_bits(self) -> dict[str, int]:
        rng, operands, norm = self.rng, self.operands, self.dut.store.norm
        ring, slot, group = rng.randrange(2), rng.randrange(self.flow.norm_slots), rng.randrange(norm.most_groups)
        in_word = WORD // norm.columns
        word = rng.randrange(operands.embed_words * in_word)
        addr = (ring * self.flow.norm_slots + slot) * operands.embed_words + word // in_word
        cycle = self.cycle + self.unit.write_cycles
        bits = self._lanes(RowMemory.NORM, cycle, addr, norm.side, norm.columns, group, word % in_word)
        return {"en": 1, "ring": ring, "slot": slot, "group": group, "word": word, "data": bits}

    def _attention_bits(self) -> dict[str, int]:
        rng, operands, softmax = self.rng, self.operands, self.dut.store.softmax
        slot, group = rng.randrange(self.flow.attention_slots), rng.randrange(softmax.row_groups)
        in_word = WORD // softmax.columns
        word = rng.randrange(softmax.max_groups * softmax.pieces)
        addr = slot * operands.token_words + word // in_word
        cycle = self.cycle + self.unit.write_cycles
        bits = self._lanes(RowMemory.ATTENTION, cycle, addr, softmax.rows, softmax.columns, group, word % in_word)
        return {"en": 1, "slot": slot, "group": group, "word": word, "data": bits}

    def _head_bits(self) -> dict[str, int]:
        rng, operands, head = self.rng, self.operands, self.dut.store.head
        group, word, key = rng.randrange(head.most_groups), rng.randrange(WORD // head.columns), rng.randrange(2)
        done, last = rng.randrange(2), rng.randrange(2)
        wait = self.unit.key_write_cycles if key else self.unit.write_cycles
        token = here = 0
        if key:
            rows = rng.randint(1, min(head.side, self.engine.rows - group * head.side))
            first = group * head.side
            token, here = rng.randrange(self.engine.max_tokens - first - rows + 1), (1 << rows) - 1
            addr = rng.randrange(operands.key_depth - (token + first + rows - 1) // self.engine.columns)
            lanes, column, held = self._collected("KEYS", head.side, head.columns, word)
            self.write_tokens(ColumnMemory.KEYS, self.cycle + wait, addr, token + first, column, held[:rows])
        else:
            addr = rng.randrange(operands.row_depths[RowMemory.QUERY])
            lanes = self._lanes(RowMemory.QUERY, self.cycle + wait, addr, head.side, head.columns, group, word)
        if done and last:
            self.expected["done"].append((self.cycle + wait, 1 << (Done.KEYS if key else Done.QUERY)))
        tag = join((key, addr, token, done), tuple(operands.tag.values()))
        fields = {"en": 1, "tag": tag, "group": group, "here": here, "word": word, "data": lanes}
        return fields | {"done": last}  # the last one is `head_done`

    # The run.

    def run(self, counts: tuple[int, ...] = (60, 40)) -> None:
        """Clear all memories, then give random operations; as often as there are counts."""
        simulator = Simulator(self.dut)
        simulator.add_clock(CLK_PERIOD)

        async def bench(ctx: Any) -> None:
            for name, words in self.words.items():
                await load_memory(ctx, self.dut.load, self.unit.load_memories[name], words)
            ctx.set(self.dut.bank, 1)
            for count in counts:
                await self._clear(ctx)
                await self._give(ctx, self.program(count))

        simulator.add_testbench(bench)
        simulator.run()

    async def _clear(self, ctx: Any) -> None:
        ctx.set(self.dut.clear, 1)
        await ctx.tick()
        ctx.set(self.dut.clear, 0)
        cycles = 0
        while ctx.get(self.dut.clearing):
            await ctx.tick()
            cycles += 1
        assert cycles == self.operands.clear_cycles
        self.memories.clear()
        self.held = {
            name: bits for name, bits in self.held.items() if name == "KEYS"
        }  # whose first piece clears the rest
        await ctx.tick()

    async def _give(self, ctx: Any, program: dict[int, dict[str, int]]) -> None:
        """Give the operations, and bits of units until the last one is there; then wait for what they lead to."""
        last = max(program)
        dut, none = self.dut, dict.fromkeys(self.operands.fields, 0)
        waiting: deque[tuple[int, dict[str, int]]] = deque()
        while self.cycle < last + 40:
            op = program.get(self.cycle)
            ctx.set(dut.op, {"en": 1, **op} if op else {"en": 0, **none})
            bits = self.unit_bits() if self.cycle < last else {}
            if op:
                waiting.append((self.cycle, op))
            # When its last operands are read, all that is written before is known.
            if waiting and self.cycle == waiting[0][0] + waiting[0][1]["steps"]:
                issue, read = waiting.popleft()
                self.expect(read, issue)
            head = dict(bits.get("head_bits", {}))
            ctx.set(dut.head_done, head.pop("done", 0))
            for name in ("norm_bits", "head_bits", "attention_bits"):
                port = getattr(dut, name)
                values = head if name == "head_bits" else bits.get(name, {})
                ctx.set(port, {field: values.get(field, 0) for field in port.shape().members})
            self._watch(ctx)
            await ctx.tick()
            self.cycle += 1
        self.memories.until(self.cycle)

    def _watch(self, ctx: Any) -> None:
        """Note what is at the ports in this cycle."""
        dut, bits = self.dut, self.engine.acc_bits
        done, kinds = ctx.get(dut.done), ctx.get(dut.sums_en)
        if done:
            self.seen["done"].append((self.cycle, done))
        if kinds:
            kind, word = kinds.bit_length() - 1, ctx.get(dut.sums)
            assert kinds == 1 << kind
            count = self.flow.drain_rows * self.engine.columns
            sums = [signed(word >> k * bits, bits) for k in range(count)]
            score = self.engine.score_bits
            assert ctx.get(dut.scores) == sum((one & (1 << score) - 1) << k * score for k, one in enumerate(sums))
            beside = (ctx.get(port) for port in (dut.score_rows, dut.score_set, dut.score_head))
            flags = (bool(ctx.get(dut.sums_last)), bool(ctx.get(dut.sums_end)))
            self.seen["sums"].append((self.cycle, kind, *flags, *beside, tuple(sums)))
        self._watch_memories(ctx)

    def _watch_memories(self, ctx: Any) -> None:
        store, engine = self.dut.store, self.engine
        for memory, rows in store.row_stores.items():
            if not ctx.get(rows.w_en):
                continue
            parts = to_int(np.repeat(_bits(ctx.get(rows.w_parts), WORD // rows.part_bits), rows.part_bits))
            here, given = ctx.get(rows.w_rows), ctx.get(rows.w_data)
            mask = sum(parts << row * WORD for row in range(engine.rows) if here >> row & 1)
            lanes = [given >> row * rows.part_bits & (1 << rows.part_bits) - 1 for row in range(engine.rows)]
            repeat = sum(1 << k for k in range(0, WORD, rows.part_bits))
            word = sum(lane * repeat << row * WORD for row, lane in enumerate(lanes))
            self.seen["writes"].append((self.cycle, memory.name, ctx.get(rows.w_addr), mask, word & mask))
        for memory, tokens in ((ColumnMemory.KEYS, store.keys), (ColumnMemory.VALUES, store.values)):
            here = ctx.get(tokens.w_here)
            if not ctx.get(tokens.w_en) or ctx.get(tokens.clear) or not here:
                continue
            parts, given = ctx.get(tokens.w_parts), ctx.get(tokens.w_data)
            begin, width = (parts & -parts).bit_length() - 1, parts.bit_count() * tokens.part_bits
            assert parts >> begin == (1 << parts.bit_count()) - 1
            found = []
            for lane in range(tokens.banks):
                if here >> lane & 1:
                    word, slot = divmod(ctx.get(tokens.w_token) + lane, tokens.tokens)
                    data = given >> lane * tokens.part_bits & (1 << width) - 1
                    found.append((ctx.get(tokens.w_addr) + word, slot, begin * tokens.part_bits, data))
            self.seen["writes"].append((self.cycle + 1, memory.name, width, tuple(found)))

    def check(self) -> None:
        """All that was expected came, when it was expected, and nothing else."""
        merged: dict[int, int] = {}
        for cycle, done in self.expected["done"]:
            merged[cycle] = merged.get(cycle, 0) | done
        expected = {**self.expected, "done": sorted(merged.items())}
        for name, seen in self.seen.items():
            assert sorted(seen) == sorted(expected[name]), name


def _bits(word: int, count: int) -> np.ndarray:
    return np.array([word >> k & 1 for k in range(count)])
