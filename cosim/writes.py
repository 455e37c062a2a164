"""What a dataflow engine must write for its operations: the reference's taps as the writes of its ports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sim.engine.words import WORD
from ..sim.flow.edge import EdgeUnit
from ..sim.flow.head_norm import HeadNormUnit
from ..sim.flow.lane_unit import LaneUnit
from ..sim.flow.operation import Operands, RowMemory, Way
from ..sim.flow.residual_add import ResidualAddUnit
from ..sim.flow.sign_norm import SignNormUnit
from ..sim.flow.softmax import SoftmaxUnit
from ..sim.flow.streams import Part, Stream
from ..sim.mapping.expected import Expected, Ints, Sums, lane_words
from ..sim.mapping.words import NORMS
from ..sim.network.config import ModelConfig
from .compare import Writes, as_is
from .order import Entry, Operation

#: Ways of sums, which leave by the drain, in the order of their bits.
_DRAINED = (Way.RESIDUAL, Way.HEAD, Way.SCORE)


def _twice(write: int, element: int, value: int) -> int:
    """Return a dot product, of which the array has half."""
    return 2 * value


class FlowWrites:
    """Goes through the operations of a run in order, and says what each of them makes the engine write.

    Parameters
    ----------
    expected : Expected
        What operations and jobs make.
    """

    def __init__(self, expected: Expected):
        self.expected, self.layout = expected, expected.layout
        self.flow = flow = expected.layout.flow
        self.config, self.shape, self.operands = expected.config, expected.shape, Operands(flow)
        self.add, self.norm, self.softmax = ResidualAddUnit(flow), SignNormUnit(flow), SoftmaxUnit(flow)
        self.head, self.edge = HeadNormUnit(flow), EdgeUnit(flow)
        #: Slots of rings that were taken so far.
        self._taken = Counter[str]()
        self._at = dict[str, int]()

    def all(self, order: Iterable[Operation | Entry]) -> Iterator[tuple[int, Writes]]:
        """Yield the number of an image and what is written for it.

        Parameters
        ----------
        order : iterable of Operation or Entry
            As the slots come.
        """
        for one in order:
            if isinstance(one, Entry):
                if one.tile == 0:
                    yield one.image, self._embedded(one.image)
                yield one.image, self._sign_norm(one.image, 0, False, one.tile)
                continue
            found = self.expected.operation(*one)
            for writes in self._of_operation(one, found):
                yield one.image, writes

    def _of_operation(self, one: Operation, found: Sums) -> Iterator[Writes]:
        """Yield what an operation writes, and what jobs that it completes write."""
        image, block, stream, tile, number = one
        if found.way is Way.SIGN:
            yield self._signs(one, found)
        elif found.way is Way.ROWS:
            yield self._rows(one, found)
        else:
            yield self._sums(one, found)
        made, shape = self.layout.made(stream, number), self.shape
        if found.way is Way.RESIDUAL:
            yield self._added(one)
            second = stream is Stream.PROJ
            if number == shape.operations[stream] - 1 and (second or self._goes_on(block)):
                yield self._sign_norm(image, block if second else block + 1, second, tile)
        elif found.way is Way.HEAD and made.group == shape.head_groups - 1:
            assert made.part is not None
            yield self._head_norm(one, made.part, made.head)
        elif found.way is Way.SCORE and made.group == shape.key_groups - 1:
            yield self._attention(one, made.head)

    # Out of the array.

    def _sums(self, one: Operation, found: Sums) -> Writes:
        """Sums that are drained: some rows a word; rows that the tile has not may be anything."""
        flow = self.flow
        values, valid = lane_words(found.sums, flow.drain_rows, self.layout.columns)
        values, valid = (_more(part, flow.drain_cycles) for part in (values, valid))
        last = np.arange(flow.drain_cycles) == flow.drain_cycles - 1
        keys = np.stack([np.full(len(last), 1 << _DRAINED.index(found.way)), last], axis=1)
        to_tap = as_is if one.stream is Stream.SCORES else _twice
        return self._writes(
            "sums", one, found.tap, keys, values, valid, self._index(one, found, flow.drain_rows), to_tap
        )

    def _signs(self, one: Operation, found: Sums) -> Writes:
        """Bits of a whole tile, to one of the row memories."""
        memory, addr, chunk = self._place(one)
        rows = self.flow.engine.rows
        values, valid = lane_words(found.bits, rows, self.layout.columns)
        keys = np.array([[memory, addr, chunk]])
        tap, index = self._bits_tap(one), self._index(one, found, rows)
        if one.stream is Stream.SCORES or one.stream is Stream.QKV:
            return self._writes("signs", one, tap, keys, values, valid, self._of_head(one))
        return self._writes("signs", one, tap, keys, values, valid, index)

    def _rows(self, one: Operation, found: Sums) -> Writes:
        """Bits row by row, to keys or values."""
        side, rows = self.flow.value_rows, len(found.sums)
        values, valid = lane_words(found.bits, side, self.layout.columns)
        first = np.arange(0, rows, side)
        here = (1 << np.minimum(rows - first, side)) - 1
        keys = np.stack([self._token(one.tile) + first, here], axis=1)
        return self._writes("rows", one, self._bits_tap(one), keys, values, valid, self._of_head(one, side))

    def _place(self, one: Operation) -> tuple[RowMemory, int, int]:
        """Return which memory the bits of a whole tile go to, the word, and which columns of its 64."""
        operands, columns, flow = self.operands, self.layout.columns, self.flow
        made = self.layout.made(one.stream, one.number)
        begins = one.number == 0
        memory, base, group = RowMemory.BITS, 0, one.number
        if one.stream is Stream.FC1:
            base = operands.hidden_base + self._slot("hidden", flow.hidden_slots, begins) * operands.hidden_words
        elif one.stream is Stream.CONTEXT:
            base = self._slot("context", flow.context_slots, begins) * operands.context_words
        elif one.stream is Stream.SCORES:
            memory, group = RowMemory.ATTENTION, made.group
            base = self._slot("attention", flow.attention_slots, group == 0) * operands.token_words
        else:
            memory, group = RowMemory.QUERY, made.group
            begins = made.head == 0 and group == 0
            slot = self._slot("query", operands.query_slots, begins)
            base = slot * flow.engine.max_heads + made.head
        word, column = divmod(group * columns, WORD)
        return memory, base + word, column // columns

    def _slot(self, ring: str, slots: int, begins: bool) -> int:
        """Return the slot of a ring that is written, the next one where a tile begins."""
        if begins:
            self._at[ring] = self._taken[ring] % slots
            self._taken[ring] += 1
        return self._at[ring]

    def _bits_tap(self, one: Operation) -> str:
        """Return the tensor of an operation's bits."""
        made = self.layout.made(one.stream, one.number)
        if made.part is not None:
            return NORMS[made.part]
        names = {Stream.FC1: "mlp.act", Stream.CONTEXT: "attn.context", Stream.SCORES: "attn.attn_sign"}
        return names[one.stream]

    # Out of the units.

    def _added(self, one: Operation) -> Writes:
        """Words of x."""
        unit, made = self.add, self.layout.made(one.stream, one.number)
        x = self.expected.added(*one)
        values, valid = self._of_unit(unit, x, self.layout.columns)
        group, part = np.divmod(np.arange(len(values)), unit.parts)
        keys = self._x_keys(one, group, one.number * unit.parts + part)
        name = "add1" if one.stream is Stream.PROJ else "add2"
        index = _index(unit.side, unit.columns, unit.parts, (), self._token(one.tile), made.channels.start)
        return self._writes("x", one, name, keys, values, valid, index)

    def _x_keys(self, one: Operation, group: Ints, word: Ints) -> Ints:
        """Addresses of x: of row groups of an operation's tile, and words of them."""
        first = self.layout.x_addr(one.image % self.add.banks, one.tile)
        return (first + group * self.layout.layer_words + word).reshape(-1, 1)

    def _goes_on(self, block: int) -> bool:
        """Whether an image goes on with the next block behind this one."""
        return block + 1 < self.config.depth

    def _sign_norm(self, image: int, block: int, second: bool, tile: int) -> Writes:
        """Bits of norm1 or norm2, 0 beyond the channels and the rows."""
        unit, bits = self.norm, self.expected.sign_norm(image, block, second, tile)
        values, _ = lane_words(bits, unit.side, unit.columns)
        words = unit.words(self.config.embed_dim)
        group, word = np.divmod(np.arange(len(values)), words)
        ring = np.full(len(values), int(second))
        slot = np.full(len(values), self._slot(f"norm{second}", self.flow.norm_slots, True))
        keys = np.stack([ring, slot, group, word], axis=1)
        index = _index(unit.side, unit.columns, words, (), self._token(tile), 0)
        one = Operation(image, block, Stream.QKV, tile, 0)
        name = "norm2" if second else "norm1"
        return self._writes("norm", one, name, keys, values, np.ones(values.shape, bool), index)

    def _head_norm(self, one: Operation, part: Part, head: int) -> Writes:
        """Bits of a head of q or k, 0 beyond its channels and the rows."""
        unit, bits = self.head, self.expected.head_norm(one.image, one.block, part, one.tile, head)
        values, _ = lane_words(bits, unit.side, unit.columns)
        words = unit.words(self.config.head_dim)
        keys = np.stack(np.divmod(np.arange(len(values)), words), axis=1)
        index = _index(unit.side, unit.columns, words, (head,), self._token(one.tile), 0)
        return self._writes("head_norm", one, NORMS[part], keys, values, np.ones(values.shape, bool), index)

    def _attention(self, one: Operation, head: int) -> Writes:
        """Attention bits of a head, 0 beyond the keys; rows that the tile has not may be anything."""
        unit, bits = self.softmax, self.expected.softmax(one.image, one.block, one.tile, head)
        values, _ = lane_words(bits, unit.rows, unit.columns)
        words = unit.chunks(self.config.num_tokens)
        valid, _ = lane_words(np.ones((len(bits), words * unit.columns), np.int64), unit.rows, unit.columns)
        group, word = np.divmod(np.arange(len(values)), words)
        slot = np.full(len(values), self._slot("attention", self.flow.attention_slots, True))
        keys = np.stack([slot, group, word] if unit.row_groups > 1 else [slot, word], axis=1)
        index = _index(unit.rows, unit.columns, words, (head,), self._token(one.tile), 0)
        return self._writes("softmax", one, "attn.attn_sign", keys, values, valid != 0, index)

    def _embedded(self, image: int) -> Writes:
        """X of an image as the edge writes it: chunks of the prefix tokens, then pass by pass, group by group."""
        unit, columns = self.edge, self.add.columns
        x = np.concatenate([self.expected.embedded(image, tile) for tile in range(self.shape.tiles)])
        places = list(edge_chunks(self.config, unit))
        values, valid = np.zeros((2, len(places), unit.chunk), np.int64)
        keys = np.zeros((len(places), 2), np.int64)
        for number, (token, channel) in enumerate(places):
            part = x[token, channel : channel + unit.chunk]
            values[number, : len(part)], valid[number, : len(part)] = part, 1
            tile, row = divmod(token, self.flow.engine.rows)
            enable = row % unit.side * unit.word_chunks + channel % columns // unit.chunk
            bank = image % self.add.banks
            addr = self.layout.x_addr(bank, tile, row // unit.side, channel // columns)
            keys[number] = 1 << enable, addr

        def index(write: int, element: int) -> tuple[int, ...]:
            token, channel = places[write]
            return token, channel + element

        return Writes("patch_embed", "patch_embed", keys, values, valid.astype(bool), index)

    # What all have in common.

    def _of_unit(self, unit: LaneUnit, values: Ints, width: int) -> tuple[Ints, NDArray[np.bool_]]:
        """Cut rows into the words of a unit, of all columns of a group; those beyond the network may be anything."""
        rows, channels = values.shape
        wide = np.zeros((2, rows, width), np.int64)
        wide[0, :, :channels], wide[1, :, :channels] = values, 1
        return lane_words(wide[0], unit.side, unit.columns)[0], lane_words(wide[1], unit.side, unit.columns)[0] != 0

    def _token(self, tile: int) -> int:
        return tile * self.flow.engine.rows

    def _index(self, one: Operation, found: Sums, side: int) -> Callable[[int, int], tuple[int, ...]]:
        """Return where elements are that leave the array."""
        heads: tuple[int, ...] = ()
        if one.stream is Stream.SCORES:
            heads = (self.layout.made(one.stream, one.number).head,)
        return _index(side, self.layout.columns, 1, heads, self._token(one.tile), found.channels.start)

    def _of_head(self, one: Operation, side: int | None = None) -> Callable[[int, int], tuple[int, ...]]:
        """Return where bits of a head are that leave the array."""
        made, columns = self.layout.made(one.stream, one.number), self.layout.columns
        first = made.group * columns
        return _index(side or self.flow.engine.rows, columns, 1, (made.head,), self._token(one.tile), first)

    def _writes(
        self,
        probe: str,
        one: Operation,
        name: str,
        keys: Ints,
        values: Ints,
        valid: NDArray[np.bool_],
        index: Callable[[int, int], tuple[int, ...]],
        to_tap: Callable[[int, int, int], int] = as_is,
    ) -> Writes:
        return Writes(probe, self._tap(name, one.block), keys.astype(np.int64), values, valid, index, to_tap)

    def _tap(self, name: str, block: int) -> str:
        """Return the name of a block's tensor."""
        prefix = f"{self.config.stages[0].blocks[block].name}."
        return name if name.startswith(prefix) else prefix + name


def edge_chunks(config: ModelConfig, unit: EdgeUnit) -> Iterator[tuple[int, int]]:
    """Yield token and first channel of each chunk of an image that the edge writes, in order.

    Parameters
    ----------
    config : ModelConfig
    unit : EdgeUnit
    """
    width, tokens = config.embed_dim, config.num_tokens
    prefix = tokens - config.grid_size**2
    for token in range(prefix):
        yield from ((token, channel) for channel in range(0, width, unit.chunk))
    for first in range(prefix, tokens, unit.patches):
        for group in range(0, width, unit.channels):
            for token in range(first, min(first + unit.patches, tokens)):
                channels = range(group, min(group + unit.channels, width), unit.chunk)
                yield from ((token, channel) for channel in channels)


def _index(
    side: int, columns: int, words: int, before: Sequence[int], row: int, column: int
) -> Callable[[int, int], tuple[int, ...]]:
    """Return where the elements of words are: the axes before, and the first row and column."""

    def index(write: int, element: int) -> tuple[int, ...]:
        group, word = divmod(write, words)
        return *before, row + group * side + element // columns, column + word * columns + element % columns

    return index


def _more(values: NDArray[Any], rows: int) -> NDArray[Any]:
    """Fill an array up to so many rows."""
    return np.concatenate([values, np.zeros((rows - len(values), values.shape[1]), values.dtype)])
