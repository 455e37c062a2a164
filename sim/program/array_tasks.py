"""Tasks of the array in one block: tiles of the linear layers, of scores and of context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..engine.commands import Epilogue, Matmul, OperandMemory, Preload
from ..engine.words import WORD, ceil_div
from ..network.blocks import BlockShape
from .graph import At, ByWindow, Param, Piece, Task, Value, Where
from .layout import Group, Layout, Tile


@dataclass(frozen=True)
class Columns:
    """The array's column operand: where it begins, its words, and the values that it is, if it is no parameter."""

    at: At
    steps: int
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Start:
    """Where a tile's sums start: a constant, plus a word of thresholds or of value sums."""

    constant: int = 0
    preload: Preload = Preload.NONE
    at: At | None = None

    @property
    def reads(self) -> tuple[Value, ...]:
        """The value that the start is, if it is one."""
        return (self.at.what,) if self.at and isinstance(self.at.what, Value) else ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """What becomes of a tile's sums: fields, places, values and tensors that the epilogue adds to the task."""

    epilogue: Epilogue
    fields: Mapping[str, int] = field(default_factory=dict)
    at: Mapping[str, At] = field(default_factory=dict)
    reads: ByWindow = field(default_factory=dict)
    writes: ByWindow = field(default_factory=dict)
    pieces: Mapping[str, Piece] = field(default_factory=dict)


def to_bits(value: Value, piece: Piece, chunk: int, theta: Piece | None = None) -> Target:
    """Threshold at 0, and write the bits; `theta` is the threshold that the start holds."""
    return Target(
        epilogue=Epilogue.BITS,
        fields={"dst_chunk": chunk},
        at={"dst": At(value)},
        writes={"bits.write": (value,)},
        pieces={"bits": piece} | ({"theta": theta} if theta else {}),
    )


def tokens_of(name: str, tile: Tile) -> tuple[Value, ...]:
    """Rows of the residual, a value a token."""
    return tuple(Value(name, (token,)) for token in tile.tokens)


class ArrayTasks:
    """Builds the array's tasks of one block.

    Parameters
    ----------
    layout : Layout
        Network shape and engine.
    shape : BlockShape
        Shape of the block.
    """

    def __init__(self, layout: Layout, shape: BlockShape):
        self.layout, self.shape, self.engine = layout, shape, layout.engine
        self.tiles = layout.tiles()
        heads = range(shape.num_heads)
        #: What the array reads as columns: keys by head and group of keys, values by head and group of channels.
        self._keys = {
            (head, keys.index): tuple(
                Value("attn.k_norm", (t.index, head)) for t in self.tiles if _overlap(t.tokens, keys.channels)
            )
            for head in heads
            for keys in layout.key_groups()
        }
        self._values = {
            (head, group): tuple(Value("attn.v_sign", (head, group, t.index)) for t in self.tiles)
            for head in heads
            for group in range(layout.head_groups)
        }

    # Attention.

    def query_or_key(self, part: str, tile: Tile, head: int) -> list[Task]:
        """Sums of q or k of one tile and head: thresholded at once, or kept for HeadNorm."""
        norm, tasks = f"attn.{part}_norm", []
        for group in self.layout.groups_of_head(head):
            chunk = group.index * self.engine.tile_chunks
            if self.shape.qk_mode == "layernorm":
                kept = (Value("head_sums", (tile.index, head, "qk".index(part))),)
                target = Target(epilogue=Epilogue.HEAD_NORM, fields={"dst_chunk": chunk}, writes={"drain": kept})
            else:
                inner = self._in_head(group, head)
                bits = Piece(norm, (head, tile.tokens, inner))
                target = to_bits(Value(norm, (tile.index, head)), bits, chunk, Piece(f"{norm}.theta", (head, inner)))
            tasks.append(self._qkv(part, tile, head, group, target))
        return tasks

    def value(self, tile: Tile, head: int) -> list[Task]:
        """v of one tile and head, and its column sums over the tiles so far."""
        tasks = []
        for group in self.layout.groups_of_head(head):
            at = (head, group.index)
            value, sums = Value("attn.v_sign", (*at, tile.index)), Value("value_sums", (*at, tile.index))
            before = (Value("value_sums", (*at, tile.index - 1)),) if tile.index else ()
            target = Target(
                epilogue=Epilogue.BITS,
                fields={"first": int(not before)},
                at={"dst": At(value), "param": At(sums)},
                reads={"sums.read": before} if before else {},
                writes={"bits.write": (value,), "sums.write": (sums,)},
                pieces={
                    "bits": Piece("attn.v_sign", (head, tile.tokens, self._in_head(group, head))),
                    "theta": Piece("attn.v_sign.theta", (group.channels,)),
                },
            )
            tasks.append(self._qkv("v", tile, head, group, target))
        return tasks

    def scores(self, tile: Tile, head: int) -> list[Task]:
        """Popcounts of one tile of queries with all keys of a head; in mode `score`, thresholded at once."""
        shape = self.shape
        query, padding = Value("attn.q_norm", (tile.index, head)), -(WORD - shape.head_dim)
        tasks = []
        for keys in self.layout.key_groups():
            covering = self._keys[head, keys.index]
            chunk = keys.index * self.engine.tile_chunks
            start = Start(padding)
            if shape.attn_mode == "score":
                start = Start(padding, Preload.PRELOAD, At(Param("preload", "attn.attn_sign", head)))
                bits = Piece("attn.attn_sign", (head, tile.tokens, keys.channels))
                theta = Piece("attn.attn_sign.theta", (head,))
                target = to_bits(Value("attn.attn_sign", (tile.index, head)), bits, chunk, theta)
            else:
                drained = (Value("attn.scores", (tile.index, head)),)
                target = Target(epilogue=Epilogue.SCORES, fields={"dst_chunk": chunk}, writes={"drain": drained})
            where = Where("attn.scores", tile.index, tile.token, head, keys.column)
            sums = Piece("attn.scores", (head, tile.tokens, keys.channels))
            column = Columns(At(covering[0], keys.index), 1, covering)
            tasks.append(self._matmul(where, tile, keys, query, column, start, target, sums))
        return tasks

    def context(self, tile: Tile, head: int) -> list[Task]:
        """Bits of one tile of the context of one head."""
        steps, bits = self.layout.token_words, Value("attn.attn_sign", (tile.index, head))
        tasks = []
        for group in self.layout.groups_of_head(head):
            at = (head, group.index)
            values = self._values[at]
            # The array counts xnor over all padded tokens: less their number, plus the ones of v, it is c.
            start = Start(-steps * WORD, Preload.VALUE_SUMS, At(Value("value_sums", (*at, self.tiles[-1].index))))
            made = Piece("attn.context", (tile.tokens, group.channels))
            target = to_bits(Value("attn.context", (tile.index,)), made, group.column // self.engine.lanes)
            where = Where("attn.context", tile.index, tile.token, head, group.column)
            sums = Piece("attn.context.c", (tile.tokens, group.channels))
            column = Columns(At(values[0]), steps, values)
            tasks.append(self._matmul(where, tile, group, bits, column, start, target, sums))
        return tasks

    # Linear layers.

    def projection(self, tile: Tile) -> list[Task]:
        """proj of one tile, added to the residual."""
        operand = Value("attn.context", (tile.index,))
        return self._residual("attn.proj", ("x", "add1"), tile, operand, self.shape.embed_dim)

    def fc1(self, tile: Tile) -> list[Task]:
        """Hidden bits of one tile."""
        tasks = []
        for group in self.layout.groups(self.shape.hidden_dim):
            made, theta = Piece("mlp.act", (tile.tokens, group.channels)), Piece("mlp.act.theta", (group.channels,))
            target = to_bits(Value("mlp.act", (tile.index,)), made, group.column // self.engine.lanes, theta)
            start = Start(0, Preload.PRELOAD, At(Param("preload", "mlp.fc1", group.index)))
            where = Where("mlp.fc1", tile.index, tile.token, column=group.column)
            operand = Value("norm2", (tile.index,))
            tasks.append(self._linear(where, tile, group, group.index, operand, start, target, group.channels))
        return tasks

    def fc2(self, tile: Tile) -> list[Task]:
        """fc2 of one tile, added to the residual."""
        operand = Value("mlp.act", (tile.index,))
        return self._residual("mlp.fc2", ("add1", "add2"), tile, operand, self.shape.hidden_dim)

    def _qkv(self, part: str, tile: Tile, head: int, group: Group, target: Target) -> Task:
        """A group of q, k or v; where bits are made, the start holds padding, K/2 and Theta."""
        number, channels = "qkv".index(part), group.channels
        index = self.layout.qkv_group(number, head, group.index)
        if target.epilogue == Epilogue.BITS:
            start = Start(0, Preload.PRELOAD, At(Param("preload", "attn.qkv", index)))
        else:
            start = self._centred(self.shape.embed_dim)
        where = Where("attn.qkv", tile.index, tile.token, head, group.column, part=part)
        base = number * self.shape.embed_dim
        rows = range(base + channels.start, base + channels.stop)
        return self._linear(where, tile, group, index, Value("norm1", (tile.index,)), start, target, rows)

    def _residual(self, layer: str, versions: tuple[str, str], tile: Tile, operand: Value, k: int) -> list[Task]:
        """A layer whose sums are added to the residual: the first of its `versions` becomes the second."""
        before, after = (tokens_of(name, tile) for name in versions)
        tasks = []
        for group in self.layout.groups(self.shape.embed_dim):
            chunk = group.column // self.engine.lanes
            channels = range(group.column, group.column + self._chunks(group) * self.engine.lanes)
            target = Target(
                epilogue=Epilogue.RESIDUAL,
                at={"dst": At(after[0], chunk), "param": At(Param("residual", layer), chunk)},
                reads={"x.read": before},
                writes={"x.write": after},
                pieces={"rows": Piece(versions[1], (tile.tokens, channels))},
            )
            where = Where(layer, tile.index, tile.token, column=group.column)
            start, outputs = self._centred(k), group.channels
            tasks.append(self._linear(where, tile, group, group.index, operand, start, target, outputs, k))
        return tasks

    @staticmethod
    def _centred(k: int) -> Start:
        """Start that takes away padding and K/2, so that the sum is half of the dot product."""
        return Start(-(ceil_div(k, WORD) * WORD - k) - k // 2)

    def _linear(
        self,
        where: Where,
        tile: Tile,
        group: Group,
        index: int,
        operand: Value,
        start: Start,
        target: Target,
        outputs: range,
        k: int | None = None,
    ) -> Task:
        """A group of `outputs` of a layer of `k` inputs (D); `index` counts its groups in the weights."""
        weights = Columns(At(Param("weights", where.layer, index)), ceil_div(k or self.shape.embed_dim, WORD))
        sums = Piece(where.layer, (tile.tokens, outputs), 2)  # half a dot product is what the array sums up
        return self._matmul(where, tile, group, operand, weights, start, target, sums)

    def _matmul(
        self,
        where: Where,
        tile: Tile,
        group: Group,
        rows: Value,
        columns: Columns,
        start: Start,
        target: Target,
        sums: Piece,
    ) -> Task:
        """One tile: rows of a value times `columns`, from `start` to `target`."""
        fields = {
            "steps": columns.steps,
            "preload": start.preload,
            "preload_addr": 0,
            "preload_const": start.constant,
            "epilogue": target.epilogue,
            "rows": tile.rows,
            "chunks": self._chunks(group),
            "columns": group.columns,
            "dst_mem": OperandMemory.QUERY,  # of what makes no bits
            "dst_addr": 0,
            "dst_chunk": 0,
            "token": tile.token,
            "stride": self.layout.row_chunks,
            "param_addr": 0,
            "first": 0,
        }
        return Task(
            command=Matmul,
            where=where,
            fields={**fields, **target.fields},
            at={"a": At(rows), "w": columns.at, **({"preload": start.at} if start.at else {}), **target.at},
            reads={"array": (rows, *columns.values), "preload.read": start.reads, **target.reads},
            writes=target.writes,
            pieces={"sums": sums, **target.pieces},
        )

    def _chunks(self, group: Group) -> int:
        return ceil_div(group.columns, self.engine.lanes)

    def _in_head(self, group: Group, head: int) -> range:
        """Channels of a group, counted within its head."""
        first = group.column - head * self.shape.head_dim
        return range(first, first + group.columns)


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop
