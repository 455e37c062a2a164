"""The operations of one image, in program order."""

from __future__ import annotations

from ..engine.commands import OperandMemory
from .array_operations import ArrayOperations, Operand
from .layout import Layout, Tile
from .schedule import Op
from .unit_operations import UnitOperations


class Operations:
    """Lists operations of a network in an engine: `before` the blocks, one `block`, and `after` them.

    Parameters
    ----------
    layout : Layout
        Network shape, engine, addresses.
    patch_shift : int
        Shift of the patch embedding, n (semantics.md, 1).
    """

    def __init__(self, layout: Layout, patch_shift: int):
        self.layout, self.config = layout, layout.config
        self.array, self.units = ArrayOperations(layout), UnitOperations(layout, patch_shift)

    def before(self) -> list[Op]:
        """Constant prefix tokens, then the patch embedding strip by strip."""
        prefix, grid = self.config.num_prefix_tokens, self.config.grid_size
        ops = [self.units.prefix()] if prefix else []
        return ops + [self.units.embed(prefix + strip * grid) for strip in range(grid)]

    def block(self) -> list[Op]:
        """One block: keys and values of all tokens first, then attention head by head, then the rest tile by tile."""
        tiles, heads = self.layout.tiles(), range(self.config.num_heads)
        ops: list[Op] = []
        for tile in tiles:
            ops += self.units.sign_norm("norm1", tile)
            for head in heads:
                ops += [*self._query_or_key("k", tile, head), *self.array.value(tile, head)]
                ops += self._query_or_key("q", tile, head)
        for head in heads:
            if self.config.attn_mode == "softmax":
                ops.append(self.units.table(head))
            for tile in tiles:
                ops += self._attention(tile, head, buffer=tile.index % 2)
        for tile in tiles:
            buffer = tile.index % 2
            ops += [*self.array.projection(tile), *self.units.sign_norm("norm2", tile)]
            ops += [*self.array.fc1(tile, buffer), *self.array.fc2(tile, buffer)]
        return ops

    def after(self) -> list[Op]:
        """Pooling, last norm, classifier, output."""
        mean, rows = self.config.pool == "mean", self.config.head_rows
        first = self.config.num_tokens if mean else 0
        ops = [self.units.pool()] if mean else []
        ops.append(self.units.sign_norm_pass("norm", Tile(0, first, rows), apply=0))
        ops += [self.units.normalise(row, first + row) for row in range(rows)]
        return [*ops, self.units.logits(), self.units.output()]

    def _query_or_key(self, part: str, tile: Tile, head: int) -> list[Op]:
        ops = self.array.query_or_key(part, tile, head)
        if self.config.qk_mode == "layernorm":
            bits = self.array.query_or_key_bits(part, tile, head)
            ops += self.units.head_norm(f"attn.{part}_norm", tile, head, bits)
        return ops

    def _attention(self, tile: Tile, head: int, buffer: int) -> list[Op]:
        """Scores, their threshold, and the context of one tile and head."""
        bits = Operand(OperandMemory.ATTENTION, self.layout.attention_addr(buffer), (("attention", buffer),))
        ops = self.array.scores(tile, head, bits)
        if self.config.attn_mode == "softmax":
            ops.append(self.units.attention_threshold(tile, head, bits))
        return ops + self.array.context(tile, head, bits)
