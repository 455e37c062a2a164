"""The blocks of a dataflow engine in numpy, from the words of its memories alone: slots, stale bits and all.

Nothing here knows the network's tensors. What an operation reads, makes and writes follows from addresses and words;
bits that an image left behind stay where they are.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np

from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.operation import Operands, RowMemory
from bivit.sim.flow.streams import Part, Stream
from bivit.sim.mapping.expected import Expected
from bivit.sim.mapping.layout import FlowLayout

WORD = 64


def fields(word: int, bits: int, count: int, *, signed: bool = False) -> list[int]:
    """Cut a word into fields."""
    found = [word >> k * bits & (1 << bits) - 1 for k in range(count)]
    return [value - (value >> bits - 1 << bits) for value in found] if signed else found


class Emulator:
    """Runs images one after the other, and compares all that it makes with what is expected."""

    def __init__(self, layout: FlowLayout, words: dict[str, dict[int, list[int]]], expected: Expected):
        self.layout, self.expected = layout, expected
        self.config, self.shape, self.formats = layout.config, layout.shape, layout.formats
        self.flow: FlowConfig = layout.flow
        self.engine, self.place = self.flow.engine, Operands(self.flow)
        self.rows, self.columns = self.engine.rows, self.engine.columns
        self.memory = {
            name: {first + k: word for first, run in runs.items() for k, word in enumerate(run)}
            for name, runs in words.items()
        }
        self.row = {m: np.zeros((depth, self.rows, WORD), np.int64) for m, depth in self.place.row_depths.items()}
        self.keys = np.zeros((self.place.key_depth, self.columns, WORD), np.int64)
        self.values = np.zeros((self.place.value_depth, self.columns, WORD), np.int64)
        self.value_sums = np.zeros((self.place.sums_depth, self.columns), np.int64)
        self.turn = 0  # blocks of all images
        self.checked: set[tuple[Any, ...]] = set()

    def words(self, memory: str, first: int, count: int) -> list[int]:
        """Words that the load stream brought."""
        return [self.memory[memory][at] for at in range(first, first + count)]

    # Where things are.

    def _slot(self, count: int, tile: int) -> int:
        return (self.turn * self.shape.tiles + tile) % count

    def _norm(self, second: bool, tile: int) -> int:
        return (second * self.flow.norm_slots + self._slot(self.flow.norm_slots, tile)) * self.place.embed_words

    def _query(self, tile: int, head: int) -> int:
        return self._slot(self.place.query_slots, tile) * self.engine.max_heads + head

    def _attention(self, tile: int, head: int) -> int:
        number = (self.turn * self.shape.tiles + tile) * self.config.num_heads + head
        return number % self.flow.attention_slots * self.place.token_words

    def _context(self, tile: int) -> int:
        return self._slot(self.flow.context_slots, tile) * self.place.context_words

    def _hidden(self, tile: int) -> int:
        return self.place.hidden_base + self._slot(self.flow.hidden_slots, tile) * self.place.hidden_words

    def _key(self, head: int, group: int) -> int:
        return self.turn % self.place.image_slots * self.place.key_words + head * self.shape.key_groups + group

    def _value(self, group: int) -> int:
        """Word of a column group of all heads; its sums lie alike."""
        return (
            self.turn % self.place.image_slots * self.place.value_words
            + group * self.layout.shape.steps[Stream.CONTEXT]
        )

    def _value_sums(self, group: int) -> int:
        return self.turn % self.place.image_slots * self.place.value_groups + group

    # The array.

    def operation(
        self, stream: Stream, tile: int, number: int, rows: np.ndarray, columns: np.ndarray, add: Any = 0
    ) -> np.ndarray:
        """Sums of an operation, from bits [steps, rows, 64] and [steps, columns, 64]."""
        assert len(rows) == len(columns) == self.layout.shape.steps[stream]
        word = self.memory["preload"][self.layout.preload_addr(self.block, stream, number)]
        start = np.array(fields(word, self.engine.acc_bits, self.columns, signed=True))
        equal = sum(a @ w.T + (1 - a) @ (1 - w).T for a, w in zip(rows, columns, strict=True))
        sums: np.ndarray = start + add + equal
        tokens = self.shape.tile_rows[tile]
        found = self.expected.operation(self.image, self.block, stream, tile, number)
        assert (sums[:tokens] == found.sums).all(), (stream, tile, number)
        limit = 1 << self.engine.acc_bits - 1
        assert -limit <= sums[:tokens].min()
        assert sums[:tokens].max() < limit
        self.checked.add((stream, found.way))
        return sums

    def linear(self, stream: Stream, tile: int, number: int, memory: RowMemory, addr: int) -> np.ndarray:
        """Sums of a layer, from its weights and the operand at a word."""
        steps = self.layout.shape.steps[stream]
        first = self.layout.weights_addr(self.block, stream, number)
        weights = [
            [fields(lane, 1, WORD) for lane in fields(word, WORD, self.columns)]
            for word in self.words("weights", first, steps)
        ]
        return self.operation(stream, tile, number, self.row[memory][addr : addr + steps], np.array(weights))

    def sign(self, sums: np.ndarray, memory: RowMemory, addr: int, first: int) -> None:
        """Sign bits of a tile, all of its rows, into `columns` bits of a word, `first` of them behind the slot's."""
        word, bit = divmod(first, WORD)
        self.row[memory][addr + word, :, bit : bit + self.columns] = sums >= 0

    def token_rows(self, tile: int) -> list[tuple[int, int]]:
        """Tokens of a tile, and the row of each."""
        return [(tile * self.rows + row, row) for row in range(self.shape.tile_rows[tile])]

    # Units.

    def bits_of(self, x: np.ndarray, thetas: list[int], eps: int, frac: int, constant: int | None) -> np.ndarray:
        """Sign bits of normalised rows (docs/semantics.md 2)."""
        n, found = x.shape[1], []
        for row in x.tolist():
            s1, s2 = sum(row), sum(v * v for v in row)
            r = isqrt(n * s2 - s1 * s1 + eps) if constant is None else constant
            found.append([int((n * v - s1) << frac >= theta * r) for v, theta in zip(row, thetas, strict=False)])
        return np.array(found)

    def sign_norm(self, second: bool, tile: int) -> None:
        formats, unit_columns = self.formats, min(self.flow.norm_lanes, self.columns)
        first = self.layout.layer_addr(self.block, second)
        words = self.words("sign_norm", first, self.layout.layer_words)
        thetas = [theta for w in words for theta in fields(w, formats.theta_bits, unit_columns, signed=True)]
        eps = self.memory["norm_eps"][2 * self.block + second]
        constant = 1 << formats.theta_frac_bits + formats.mean_shift if self.config.norm_mode == "mean" else None
        tokens = [token for token, _ in self.token_rows(tile)]
        bits = self.bits_of(self.x[tokens] >> formats.norm_shift, thetas, eps, formats.theta_frac_bits, constant)
        assert (bits == self.expected.sign_norm(self.image, self.block, second, tile)).all()
        self.write(RowMemory.NORM, self._norm(second, tile), bits)

    def write(self, memory: RowMemory, addr: int, bits: np.ndarray) -> None:
        """Write a unit's bits, and nothing beyond them."""
        for word in range(0, bits.shape[1], WORD):
            part = bits[:, word : word + WORD]
            self.row[memory][addr + word // WORD, : len(part), : part.shape[1]] = part

    def residual_add(self, stream: Stream, tile: int, number: int, sums: np.ndarray) -> None:
        formats, lanes = self.formats, min(self.flow.norm_lanes, self.columns)
        parts = self.columns // lanes
        first = self.layout.layer_addr(self.block, stream is Stream.FC2) + number * parts
        of = formats.scale_bits + formats.residual_bits
        pairs = [pair for word in self.words("residual", first, parts) for pair in fields(word, of, lanes)]
        scale = np.array([fields(pair, formats.scale_bits, 1, signed=True)[0] for pair in pairs])
        bias = np.array(
            [fields(pair >> formats.scale_bits, formats.residual_bits, 1, signed=True)[0] for pair in pairs]
        )
        low, high = -(1 << formats.residual_bits - 1), (1 << formats.residual_bits - 1) - 1
        at = number * self.columns
        width = min(self.columns, self.config.embed_dim - at)
        for token, row in self.token_rows(tile):
            new = self.x[token, at : at + width] + scale[:width] * 2 * sums[row, :width] + bias[:width]
            self.x[token, at : at + width] = np.clip(new, low, high)
        tokens = [token for token, _ in self.token_rows(tile)]
        made = self.x[tokens, at : at + width]
        assert (made == self.expected.added(self.image, self.block, stream, tile, number)).all()

    def head_norm(self, part: Part, tile: int, head: int, sums: np.ndarray) -> None:
        formats, lanes, inner = self.formats, min(self.flow.head_norm_lanes, self.columns), self.config.head_dim
        first = self.layout.head_addr(self.block, part, head)
        words = self.words("head_norm", first, self.layout.head_words)
        scales = [s for word in words for s in fields(word, formats.qk_scale_bits, lanes)][:inner]
        thetas = [
            theta
            for word in words
            for theta in fields(word >> lanes * formats.qk_scale_bits, formats.theta_bits, lanes, signed=True)
        ]
        eps = self.memory["norm_eps"][self.layout.head_eps_addr(self.block, part, head)]
        x = 2 * sums[: self.shape.tile_rows[tile], :inner] * np.array(scales)
        bits = self.bits_of(x, thetas, eps, formats.theta_frac_bits, None)
        assert (bits == self.expected.head_norm(self.image, self.block, part, tile, head)).all()
        if part is Part.QUERY:
            self.write(RowMemory.QUERY, self._query(tile, head), bits)
        for token, row in self.token_rows(tile) if part is Part.KEY else []:
            self.keys[self._key(head, token // self.columns), token % self.columns, :inner] = bits[row]

    def softmax(self, tile: int, head: int, scores: np.ndarray) -> None:
        first = self.layout.tables_addr(self.block, head)
        tau, *exp = self.words("tables", first, WORD + 1)
        exp = [1 << 15, *exp]
        found = []
        for row in scores[: self.shape.tile_rows[tile], : self.config.num_tokens].tolist():
            m = max(row)
            z = sum(exp[m - p] for p in row)
            found.append([int(exp[m - p] << 16 >= tau * z) for p in row])
        bits = np.array(found)
        assert (bits == self.expected.softmax(self.image, self.block, tile, head)).all()
        self.write(RowMemory.ATTENTION, self._attention(tile, head), bits)

    # Streams.

    def qkv(self, tile: int) -> None:
        groups, sums = self.shape.head_groups, dict[tuple[Part, int], np.ndarray]()
        for number, (part, of) in enumerate(self.shape.qkv_order):
            found = self.linear(Stream.QKV, tile, number, RowMemory.NORM, self._norm(False, tile))
            head, group = divmod(of, groups)
            sums[part, of] = found
            if part is Part.VALUE:
                self.write_values(tile, of, found)
            elif self.config.qk_mode == "layernorm":
                if group == groups - 1:
                    wide = np.concatenate([sums[part, head * groups + g] for g in range(groups)], axis=1)
                    self.head_norm(part, tile, head, wide)
            elif part is Part.QUERY:
                self.sign(found, RowMemory.QUERY, self._query(tile, head), group * self.columns)
            else:
                at = group * self.columns
                for token, row in self.token_rows(tile):
                    word, column = divmod(token, self.columns)
                    self.keys[self._key(head, word), column, at : at + self.columns] = found[row] >= 0

    def write_values(self, tile: int, group: int, sums: np.ndarray) -> None:
        ones = np.zeros(self.columns, np.int64)
        for token, row in self.token_rows(tile):
            self.values[self._value(group) + token // WORD, :, token % WORD] = sums[row] >= 0
            ones += sums[row] >= 0
        self.value_sums[self._value_sums(group)] = ones + (self.value_sums[self._value_sums(group)] if tile else 0)

    def attend(self, tile: int) -> None:
        groups, softmax = self.shape.key_groups, self.config.attn_mode == "softmax"
        for head in range(self.config.num_heads):
            scores = []
            for group in range(groups):
                query = self.row[RowMemory.QUERY][self._query(tile, head)]
                keys = self.keys[self._key(head, group)]
                sums = self.operation(Stream.SCORES, tile, head * groups + group, query[None], keys[None])
                scores.append(sums)
                if not softmax:
                    self.sign(sums, RowMemory.ATTENTION, self._attention(tile, head), group * self.columns)
            if softmax:
                self.softmax(tile, head, np.concatenate(scores, axis=1))
            for of in range(head * self.shape.head_groups, (head + 1) * self.shape.head_groups):
                steps = self.layout.shape.steps[Stream.CONTEXT]
                at = self._attention(tile, head)
                attention = self.row[RowMemory.ATTENTION][at : at + steps]
                values = self.values[self._value(of) : self._value(of) + steps]
                add = self.value_sums[self._value_sums(of)]
                sums = self.operation(Stream.CONTEXT, tile, of, attention, values, add)
                self.sign(sums, RowMemory.BITS, self._context(tile), of * self.columns)

    def run(self, image: int, x: np.ndarray) -> np.ndarray:
        """Return x behind the last block, of x before the first one."""
        self.image, self.x = image, x.copy()
        for block in range(self.config.depth):
            self.block = block
            for tile in range(self.shape.tiles):
                self.sign_norm(False, tile)
                self.qkv(tile)
            for tile in range(self.shape.tiles):
                self.attend(tile)
                for number in range(self.shape.operations[Stream.PROJ]):
                    sums = self.linear(Stream.PROJ, tile, number, RowMemory.BITS, self._context(tile))
                    self.residual_add(Stream.PROJ, tile, number, sums)
                self.sign_norm(True, tile)
                for number in range(self.shape.operations[Stream.FC1]):
                    sums = self.linear(Stream.FC1, tile, number, RowMemory.NORM, self._norm(True, tile))
                    self.sign(sums, RowMemory.BITS, self._hidden(tile), number * self.columns)
                for number in range(self.shape.operations[Stream.FC2]):
                    sums = self.linear(Stream.FC2, tile, number, RowMemory.BITS, self._hidden(tile))
                    self.residual_add(Stream.FC2, tile, number, sums)
            self.turn += 1
        return self.x
