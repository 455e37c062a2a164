"""Operations of the array: tiles of the linear layers, of scores and of context, with operands, starts and targets."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..engine.commands import ColumnMemory, Epilogue, Matmul, OperandMemory, Preload
from ..engine.words import WORD, ceil_div
from ..units.machine import Machine
from .layout import Group, Layout, Tile
from .schedule import Op, Region, with_window

Regions = tuple[Region, ...]


@dataclass(frozen=True)
class Operand:
    """Words of an operand memory, read by rows or written: where they start, and the regions they lie in."""

    memory: OperandMemory
    addr: int
    regions: Regions = ()


@dataclass(frozen=True)
class Columns:
    """Words that the array reads as its column operand: where they start, and the regions they lie in."""

    memory: ColumnMemory
    addr: int
    regions: Regions = ()


@dataclass(frozen=True)
class Start:
    """Where a tile's sums start: a constant, plus a word of thresholds or of value sums."""

    constant: int = 0
    preload: Preload = Preload.NONE
    addr: int = 0
    regions: Regions = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a tile's drained sums go.

    Parameters
    ----------
    epilogue : Epilogue
        What happens to them.
    memory, addr, chunk : OperandMemory, int, int
        Destination of bits, or (`addr`) of the first word of the residual.
    param_addr, first : int
        Parameters of the residual, or group and restart of the value sums.
    ports, reads, writes : dict
        What it occupies and touches, by window of `sim.units.matmul`.
    """

    epilogue: Epilogue
    memory: OperandMemory = OperandMemory.QUERY
    addr: int = 0
    chunk: int = 0
    param_addr: int = 0
    first: int = 0
    ports: dict[str, str] = field(default_factory=dict)
    reads: dict[str, Regions] = field(default_factory=dict)
    writes: dict[str, Regions] = field(default_factory=dict)


def to_bits(memory: OperandMemory, addr: int, region: Region, chunk: int = 0) -> Target:
    """Threshold at 0, and write the bits."""
    return Target(
        epilogue=Epilogue.BITS,
        memory=memory,
        addr=addr,
        chunk=chunk,
        ports={"bits.write": f"{memory}.write"},
        writes={"bits.write": (region,)},
    )


def tokens_of_x(first: int, count: int) -> Regions:
    """Regions of `count` tokens of the residual."""
    return tuple(("x", token) for token in range(first, first + count))


class ArrayOperations:
    """Builds the array's operations of one block.

    Parameters
    ----------
    layout : Layout
        Network shape, engine, addresses.
    """

    def __init__(self, layout: Layout):
        self.layout, self.config, self.engine = layout, layout.config, layout.engine
        self.machine = Machine(layout.engine)

    # Layers.

    def query_or_key(self, part: str, tile: Tile, head: int) -> list[Op]:
        """Sums of q or k of one tile and head: thresholded at once, or buffered for HeadNorm."""
        buffered = self.config.qk_mode == "layernorm"
        bits = self.query_or_key_bits(part, tile, head)
        ops = []
        for group in self.layout.groups_of_head(head):
            index = self.layout.qkv_group("qk".index(part), head, group.index)
            chunk = group.index * self.engine.tile_chunks
            if buffered:
                target = Target(epilogue=Epilogue.HEAD_NORM, chunk=chunk, writes={"drain": (("head_buffer", 0),)})
            else:
                target = to_bits(bits.memory, bits.addr, bits.regions[0], chunk)
            ops.append(self._qkv(part, tile, head, group, index, target, thresholded=not buffered))
        return ops

    def query_or_key_bits(self, part: str, tile: Tile, head: int) -> Operand:
        """Where the bits of q or k of one tile and head lie."""
        if part == "q":
            return Operand(OperandMemory.QUERY, self.layout.query_addr(tile, head), (("query", tile.index, head),))
        return Operand(OperandMemory.KEY, self.layout.key_addr(head), (("key", head, tile.index),))

    def value(self, tile: Tile, head: int) -> list[Op]:
        """v of one tile and head, and its column sums."""
        ops = []
        for group in self.layout.groups_of_head(head):
            index = self.layout.qkv_group(2, head, group.index)
            kept = self.layout.value_group(head, group.index)
            target = Target(
                epilogue=Epilogue.BITS,
                memory=OperandMemory.VALUE,
                addr=self.layout.value_addr(head, group.index),
                param_addr=kept,
                first=int(tile.index == 0),
                ports={"bits.write": "value.write"},
                reads={"sums.read": (("sums", kept),)},
                writes={"bits.write": (("value", kept, tile.index),), "sums.write": (("sums", kept),)},
            )
            ops.append(self._qkv("v", tile, head, group, index, target, thresholded=True))
        return ops

    def scores(self, tile: Tile, head: int, bits: Operand) -> list[Op]:
        """Popcounts of one tile of queries with all keys of a head; in mode `score`, thresholded to `bits` at once."""
        layout = self.layout
        padding = -(WORD - self.config.head_dim)
        ops = []
        for keys in layout.key_groups():
            covering = tuple(
                ("key", head, t.index)
                for t in layout.tiles()
                if t.token < keys.column + keys.columns and keys.column < t.token + t.rows
            )
            chunk = keys.index * self.engine.tile_chunks
            if self.config.attn_mode == "score":
                start = Start(padding, Preload.PRELOAD, layout.score_threshold_addr(head))
                target = to_bits(bits.memory, bits.addr, bits.regions[0], chunk)
            else:
                start = Start(padding)
                target = Target(epilogue=Epilogue.SCORES, chunk=chunk, writes={"drain": (("scores", 0),)})
            query = self.query_or_key_bits("q", tile, head)
            column = Columns(ColumnMemory.KEY, layout.key_addr(head) + keys.index, covering)
            ops.append(self._matmul("attn.scores", tile, keys, query, column, 1, start, target, head=head))
        return ops

    def context(self, tile: Tile, head: int, bits: Operand) -> list[Op]:
        """Bits of one tile of the context of one head."""
        layout, steps = self.layout, self.layout.token_words
        ops = []
        for group in layout.groups_of_head(head):
            kept = layout.value_group(head, group.index)
            values = tuple(("value", kept, t.index) for t in layout.tiles())
            column = Columns(ColumnMemory.VALUE, layout.value_addr(head, group.index), values)
            # The array counts xnor over all padded tokens: less their number, plus the ones of v, it is c.
            start = Start(-steps * WORD, Preload.VALUE_SUMS, kept, (("sums", kept),))
            chunk = group.column // self.engine.lanes
            target = to_bits(OperandMemory.CONTEXT, layout.context_addr(tile), ("context", tile.index), chunk)
            ops.append(self._matmul("attn.context", tile, group, bits, column, steps, start, target, head=head))
        return ops

    def projection(self, tile: Tile) -> list[Op]:
        """proj of one tile, added to the residual."""
        operand = Operand(OperandMemory.CONTEXT, self.layout.context_addr(tile), (("context", tile.index),))
        return self._residual("attn.proj", tile, operand, self.config.embed_dim, self.layout.embed_words)

    def fc1(self, tile: Tile, buffer: int) -> list[Op]:
        """Hidden bits of one tile, into one of two buffers."""
        layout = self.layout
        ops = []
        for group in layout.groups(self.config.hidden_dim):
            chunk = group.column // self.engine.lanes
            target = to_bits(OperandMemory.HIDDEN, layout.hidden_addr(buffer), ("hidden", buffer), chunk)
            start = Start(0, Preload.PRELOAD, layout.preload_addr("mlp.fc1", group.index))
            ops.append(self._linear("mlp.fc1", tile, group, self._normed(tile), start, target))
        return ops

    def fc2(self, tile: Tile, buffer: int) -> list[Op]:
        """fc2 of one tile, added to the residual."""
        operand = Operand(OperandMemory.HIDDEN, self.layout.hidden_addr(buffer), (("hidden", buffer),))
        return self._residual("mlp.fc2", tile, operand, self.config.hidden_dim, self.layout.hidden_words)

    # Tiles.

    def _normed(self, tile: Tile) -> Operand:
        return Operand(OperandMemory.NORM, self.layout.norm_addr(tile), (("norm", tile.index),))

    def _qkv(
        self, part: str, tile: Tile, head: int, group: Group, index: int, target: Target, *, thresholded: bool
    ) -> Op:
        """A group of q, k or v; `index` counts the groups of all three."""
        if thresholded:
            # The word holds padding, K/2 and Theta.
            start = Start(0, Preload.PRELOAD, self.layout.preload_addr("attn.qkv", index))
        else:
            start = self._centred(self.config.embed_dim, self.layout.embed_words)
        flat = Group(index, group.column, group.columns)
        return self._linear("attn.qkv", tile, flat, self._normed(tile), start, target, head=head, part=part)

    def _residual(self, layer: str, tile: Tile, operand: Operand, k: int, steps: int) -> list[Op]:
        layout = self.layout
        ops = []
        for group in layout.groups(self.config.embed_dim):
            chunk = group.column // self.engine.lanes
            tokens = tokens_of_x(tile.token, tile.rows)
            target = Target(
                epilogue=Epilogue.RESIDUAL,
                addr=layout.x_addr(tile.token) + chunk,
                param_addr=layout.residual_addr(layer) + chunk,
                ports={"x.read": "x.read", "x.write": "x.write"},
                reads={"x.read": tokens},
                writes={"x.write": tokens},
            )
            ops.append(self._linear(layer, tile, group, operand, self._centred(k, steps), target, steps=steps))
        return ops

    @staticmethod
    def _centred(k: int, steps: int) -> Start:
        """Start that takes away padding and K/2, so that the sum is half of the dot product."""
        return Start(-(steps * WORD - k) - k // 2)

    def _linear(
        self,
        layer: str,
        tile: Tile,
        group: Group,
        operand: Operand,
        start: Start,
        target: Target,
        *,
        steps: int | None = None,
        head: int = 0,
        part: str = "",
    ) -> Op:
        weights = Columns(ColumnMemory.WEIGHTS, self.layout.weights_addr(layer, group.index))
        steps = steps or self.layout.embed_words
        return self._matmul(layer, tile, group, operand, weights, steps, start, target, head=head, part=part)

    def _matmul(
        self,
        layer: str,
        tile: Tile,
        group: Group,
        row: Operand,
        column: Columns,
        steps: int,
        start: Start,
        target: Target,
        *,
        head: int = 0,
        part: str = "",
    ) -> Op:
        """One tile: rows of `row` times columns of `column`, from `start` to `target`."""
        chunks = ceil_div(group.columns, self.engine.lanes)
        command = Matmul(
            a_mem=row.memory,
            a_addr=row.addr,
            w_mem=column.memory,
            w_addr=column.addr,
            steps=steps,
            preload=start.preload,
            preload_addr=start.addr,
            preload_const=start.constant,
            epilogue=target.epilogue,
            rows=tile.rows,
            chunks=chunks,
            columns=group.columns,
            dst_mem=target.memory,
            dst_addr=target.addr,
            dst_chunk=target.chunk,
            token=tile.token,
            stride=self.layout.row_chunks,
            param_addr=target.param_addr,
            first=target.first,
        )
        activity = self.machine.timing(command)
        return Op(
            command=command,
            layer=layer,
            unit="xnor_array",
            activity=with_window(activity, "x.read", activity.windows["drain"]),
            ports={"array": "array", "preload.read": "preload.read", "drain": "drain", **target.ports},
            reads={"array": row.regions + column.regions, "preload.read": start.regions, **target.reads},
            writes=target.writes,
            token=tile.token,
            column=group.column,
            head=head,
            part=part,
        )
