"""Operations of the units beside the array: patch embedding, norms, attention, pooling, classifier, output."""

from __future__ import annotations

from ..engine.commands import (
    Attention,
    Embed,
    HeadNorm,
    Logits,
    Normalise,
    OperandMemory,
    Output,
    Pool,
    Prefix,
    SignNorm,
    Table,
)
from ..engine.timing import Activity
from ..units.bit_store import BitStoreUnit
from ..units.machine import Machine
from .array_operations import Operand, tokens_of_x
from .layout import Layout, Tile
from .schedule import Op, with_window


class UnitOperations:
    """Builds operations of single units.

    Parameters
    ----------
    layout : Layout
        Network shape, engine, addresses.
    patch_shift : int
        Shift of the patch embedding, n (semantics.md, 1).
    """

    def __init__(self, layout: Layout, patch_shift: int):
        self.layout, self.patch_shift = layout, patch_shift
        self.config, self.engine = layout.config, layout.engine
        self.machine = Machine(layout.engine)

    # Front.

    def prefix(self) -> Op:
        """Constant tokens before the patches."""
        tokens = self.config.num_prefix_tokens
        words = tokens * self.layout.row_chunks
        command = Prefix(words=words)
        return Op(
            command=command,
            layer="patch_embed",
            unit="dense",
            activity=self.machine.timing(command),
            ports={"x.write": "x.write"},
            writes={"x.write": tokens_of_x(0, tokens)},
        )

    def embed(self, token: int) -> Op:
        """One strip of patches, the first of which is `token`."""
        config, layout = self.config, self.layout
        command = Embed(
            token=token,
            patches=config.grid_size,
            groups=layout.dense_groups,
            chunks=layout.row_chunks,
            stride=layout.row_chunks,
            patch_rows=config.patch_size,
            patch_row_bytes=config.patch_size * config.in_chans,
            row_bytes=config.img_size * config.in_chans,
            shift=self.patch_shift,
        )
        return Op(
            command=command,
            layer="patch_embed",
            unit="dense",
            activity=self.machine.timing(command),
            ports={"x.write": "x.write"},
            writes={"x.write": tokens_of_x(token, config.grid_size)},
            token=token,
        )

    # A block.

    def sign_norm(self, norm: str, tile: Tile) -> list[Op]:
        """Both passes of ``norm1`` or ``norm2`` over a tile."""
        return [self.sign_norm_pass(norm, tile, apply) for apply in (0, 1)]

    def sign_norm_pass(self, norm: str, tile: Tile, apply: int) -> Op:
        """First (sums, root) or second (bits) pass; the last norm, ``norm``, has only the first."""
        layout, chunks = self.layout, self.layout.row_chunks
        command = SignNorm(
            apply=apply,
            rows=tile.rows,
            chunks=chunks,
            x_addr=layout.x_addr(tile.token),
            stride=chunks,
            param_addr=0 if norm == "norm" else layout.sign_norm_addr(norm),
            channels=self.config.embed_dim,
            eps=layout.eps_addr(norm),
            mean=int(self.config.norm_mode == "mean" and norm != "norm"),
            dst_mem=OperandMemory.NORM,
            dst_addr=layout.norm_addr(tile),
            token=tile.token,
        )
        activity = self.machine.timing(command)
        stats = (("sign_stats", 0),)
        x = tokens_of_x(tile.token, tile.rows)
        return Op(
            command=command,
            layer=norm,
            unit="sign_norm",
            activity=_bits_written(activity) if apply else activity,
            ports={"x.read": "x.read"}
            | ({"bits.write": "norm.write", "destination": "sign_norm.destination"} if apply else {}),
            reads={"x.read": x} | ({"stats.read": stats} if apply else {}),
            writes={"bits.write": (("norm", tile.index),)} if apply else {"stats.write": stats},
            token=tile.token,
            part="apply" if apply else "stats",
        )

    def head_norm(self, norm: str, tile: Tile, head: int, bits: Operand) -> list[Op]:
        """Both passes of ``attn.q_norm`` or ``attn.k_norm`` over the buffered sums of a tile and head."""
        return [self._head_norm_pass(norm, tile, head, bits, apply) for apply in (0, 1)]

    def _head_norm_pass(self, norm: str, tile: Tile, head: int, bits: Operand, apply: int) -> Op:
        layout, chunks = self.layout, self.layout.head_chunks
        command = HeadNorm(
            apply=apply,
            rows=tile.rows,
            chunks=chunks,
            x_addr=0,
            stride=self.engine.chunks_per_word,
            param_addr=layout.head_norm_addr(norm, head),
            channels=self.config.head_dim,
            eps=layout.eps_addr(norm, head),
            mean=0,
            dst_mem=bits.memory,
            dst_addr=bits.addr,
            token=tile.token,
        )
        activity = self.machine.timing(command)
        stats = (("head_stats", 0),)
        return Op(
            command=command,
            layer=norm,
            unit="head_norm",
            activity=_bits_written(activity) if apply else activity,
            ports={"bits.write": f"{bits.memory}.write", "destination": "head_norm.destination"} if apply else {},
            reads={"x.read": (("head_buffer", 0),)} | ({"stats.read": stats} if apply else {}),
            writes={"bits.write": bits.regions} if apply else {"stats.write": stats},
            token=tile.token,
            head=head,
            part="apply" if apply else "stats",
        )

    def table(self, head: int) -> Op:
        """Load one head's table into the attention unit."""
        command = Table(param_addr=self.layout.table_addr(head))
        activity = self.machine.timing(command)
        return Op(
            command=command,
            layer="attn.attn_sign",
            unit="attention_threshold",
            activity=with_window(activity, "all", (0, activity.busy)),
            writes={"all": (("table", 0),)},
            head=head,
        )

    def attention_threshold(self, tile: Tile, head: int, bits: Operand) -> Op:
        """Attention bits of one tile and head from its scores."""
        n = self.config.num_tokens
        command = Attention(rows=tile.rows, keys=n, dst_addr=bits.addr)
        activity = _bits_written(self.machine.timing(command))
        return Op(
            command=command,
            layer="attn.attn_sign",
            unit="attention_threshold",
            activity=activity,
            ports={"bits.write": "attention.write", "destination": "attention.destination"},
            reads={"scores.read": (("scores", 0),), "destination": (("table", 0),)},
            writes={"bits.write": bits.regions},
            token=tile.token,
            head=head,
        )

    # Back.

    def pool(self) -> Op:
        """Mean over all tokens, into the row behind them."""
        n, chunks = self.config.num_tokens, self.layout.row_chunks
        command = Pool(
            tokens=n, chunks=chunks, stride=chunks, shift=self.config.pool_shift, dst_addr=self.layout.x_addr(n)
        )
        return Op(
            command=command,
            layer="pool",
            unit="head",
            activity=self.machine.timing(command),
            ports={"x.read": "x.read", "x.write": "x.write"},
            reads={"x.read": tokens_of_x(0, n)},
            writes={"x.write": tokens_of_x(n, 1)},
            token=n,
        )

    def normalise(self, row: int, token: int) -> Op:
        """Normalise the classifier's row `row`, which is token `token` of the residual."""
        d = self.config.embed_dim
        command = Normalise(row=row, x_addr=self.layout.x_addr(token), channels=d, y_addr=row * d)
        return Op(
            command=command,
            layer="norm",
            unit="head",
            activity=self.machine.timing(command),
            ports={"x.read": "x.read"},
            reads={"stats.read": (("sign_stats", 0),), "x.read": tokens_of_x(token, 1)},
            writes={"y.write": (("y", row),)},
            token=row,
        )

    def logits(self) -> Op:
        """Classify."""
        layout = self.layout
        command = Logits(inputs=layout.head_inputs, groups=layout.class_groups, weight_addr=layout.head_weight_addr)
        return Op(
            command=command,
            layer="head",
            unit="dense",
            activity=self.machine.timing(command),
            reads={"y.read": tuple(("y", row) for row in range(self.config.head_rows))},
            writes={"logits.w": (("logits", 0),)},
        )

    def output(self) -> Op:
        """Send the logits."""
        command = Output(classes=self.config.num_classes)
        activity = self.machine.timing(command)
        return Op(
            command=command,
            layer="head",
            unit="logits",
            # The memory's first word is read ahead of the first beat.
            activity=with_window(activity, "logits.read", (1, activity.windows["logits.write"][1])),
            reads={"logits.read": (("logits", 0),)},
        )


def _bits_written(activity: Activity) -> Activity:
    """Move a unit's bits by the cycle that the store takes to write them; until then their destination is kept."""
    first, end = (offset + BitStoreUnit.write_stage for offset in activity.windows["bits.write"])
    written = with_window(activity, "bits.write", (first, end))
    return with_window(written, "destination", (0, end))
