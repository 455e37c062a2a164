"""Tasks of the units beside the array: patch embedding, norms, attention, pooling, classifier, output."""

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
from ..network.blocks import BlockShape
from .array_tasks import tokens_of
from .graph import At, Param, Piece, Task, Value, Where
from .layout import Layout, Tile


class EdgeTasks:
    """Builds tasks before and after the blocks.

    Parameters
    ----------
    layout : Layout
        Network shape and engine.
    patch_shift : int
        Shift of the patch embedding, n (semantics.md, 1).
    """

    def __init__(self, layout: Layout, patch_shift: int):
        self.layout, self.config, self.patch_shift = layout, layout.config, patch_shift
        self.channels = range(layout.config.embed_dim)

    def prefix(self) -> Task:
        """Constant tokens before the patches."""
        tokens = range(self.config.num_prefix_tokens)
        return Task(
            command=Prefix,
            where=Where("patch_embed", token=0),
            fields={"words": len(tokens) * self.layout.row_chunks},
            writes={"x.write": tuple(Value("x", (token,)) for token in tokens)},
            pieces={"rows": Piece("patch_embed", (tokens, self.channels))},
        )

    def embed(self, token: int) -> Task:
        """One strip of patches, the first of which is `token`."""
        config, layout = self.config, self.layout
        tokens = range(token, token + config.grid_size)
        return Task(
            command=Embed,
            where=Where("patch_embed", token=token),
            fields={
                "token": token,
                "patches": config.grid_size,
                "groups": layout.dense_groups,
                "chunks": layout.row_chunks,
                "stride": layout.row_chunks,
                "patch_rows": config.patch_size,
                "patch_row_bytes": config.patch_size * config.in_chans,
                "row_bytes": config.img_size * config.in_chans,
                "shift": self.patch_shift,
            },
            writes={"x.write": tuple(Value("x", (token,)) for token in tokens)},
            pieces={"rows": Piece("patch_embed", (tokens, self.channels))},
        )

    def pool(self) -> Task:
        """Mean over all tokens, a row of its own."""
        chunks, mean = self.layout.row_chunks, Value("pool")
        return Task(
            command=Pool,
            where=Where("pool", row=0),
            fields={
                "tokens": self.config.num_tokens,
                "chunks": chunks,
                "stride": chunks,
                "shift": self.config.pool_shift,
            },
            at={"dst": At(mean)},
            reads={"x.read": tuple(Value("x", (token,)) for token in range(self.config.num_tokens))},
            writes={"x.write": (mean,)},
            pieces={"rows": Piece("pool", (range(1), self.channels))},
        )

    def rows(self) -> list[Value]:
        """Rows that the classifier reads: the mean, or the first tokens."""
        if self.config.mean_pool:
            return [Value("pool")]
        return [Value("x", (token,)) for token in range(self.config.head_rows)]

    def last_norm(self) -> Task:
        """Sums and roots of the last norm, which the unit of norm1 and norm2 takes; it has no second pass there."""
        layout, chunks, rows = self.layout, self.layout.row_chunks, self.rows()
        return Task(
            command=SignNorm,
            where=Where("norm", row=0, part="stats"),
            fields={
                "apply": 0,
                "rows": len(rows),
                "chunks": chunks,
                "stride": chunks,
                "param_addr": 0,
                "channels": layout.config.embed_dim,
                "mean": 0,
                "dst_mem": OperandMemory.NORM,
                "dst_addr": 0,
                # The pooled row stands behind the tokens; only the second pass would look at this.
                "token": self.config.num_tokens if self.config.mean_pool else 0,
            },
            at={"x": At(rows[0]), "eps": At(Param("norm_eps", "norm"))},
            reads={"x.read": tuple(rows)},
            writes={"stats.write": (Value("norm.stats"),)},
            pieces={what: Piece(f"norm.{what}", (range(len(rows)),)) for what in ("s1", "r")},
        )

    def normalise(self, row: int) -> Task:
        """Normalise the classifier's row `row`."""
        source, y = self.rows()[row], Value("norm", (row,))
        return Task(
            command=Normalise,
            where=Where("norm", row=row),
            fields={"row": row, "channels": self.config.embed_dim},
            at={"x": At(source), "y": At(y)},
            reads={"stats.read": (Value("norm.stats"),), "x.read": (source,)},
            writes={"y.write": (y,)},
            pieces={"q": Piece("norm.q", (range(row, row + 1),)), "y": Piece("norm", (row, self.channels))},
        )

    def logits(self) -> Task:
        """Classify."""
        layout = self.layout
        return Task(
            command=Logits,
            where=Where("head"),
            fields={"inputs": layout.head_inputs, "groups": layout.class_groups},
            at={"weight": At(Param("dense_weights", "head"))},
            reads={"y.read": tuple(Value("norm", (row,)) for row in range(self.config.head_rows))},
            writes={"logits.w": (Value("head"),)},
            pieces={"logits": Piece("head", (range(self.config.num_classes),))},
        )

    def output(self) -> Task:
        """Send the logits."""
        return Task(
            command=Output,
            where=Where("head"),
            fields={"classes": self.config.num_classes},
            reads={"logits.read": (Value("head"),)},
        )


class NormTasks:
    """Builds tasks of the norms and of the attention's threshold in one block.

    Parameters
    ----------
    layout : Layout
        Network shape and engine.
    shape : BlockShape
        Shape of the block.
    """

    def __init__(self, layout: Layout, shape: BlockShape):
        self.layout, self.shape = layout, shape

    def sign_norm(self, norm: str, tile: Tile) -> list[Task]:
        """First (sums, root) and second (bits) pass of ``norm1`` or ``norm2`` over a tile."""
        chunks = self.layout.row_chunks
        x = tokens_of({"norm1": "x", "norm2": "add1"}[norm], tile)
        stats, bits = Value(f"{norm}.stats", (tile.index,)), Value(norm, (tile.index,))
        common = {
            "rows": tile.rows,
            "chunks": chunks,
            "stride": chunks,
            "channels": self.shape.embed_dim,
            "mean": int(self.shape.norm_mode == "mean"),
            "token": tile.token,
        }
        at = {
            "x": At(x[0]),
            "param": At(Param("sign_norm", norm)),
            "eps": At(Param("norm_eps", norm)),
            "dst": At(bits),
        }
        made = Piece(norm, (tile.tokens, range(self.shape.embed_dim)))
        where = {part: Where(norm, tile.index, tile.token, part=part) for part in ("stats", "apply")}
        return [
            Task(
                command=SignNorm,
                where=where["stats"],
                fields={"apply": 0, **common},
                at=at,
                reads={"x.read": x},
                writes={"stats.write": (stats,)},
                pieces={what: Piece(f"{norm}.{what}", (tile.tokens,)) for what in ("s1", "r")},
            ),
            Task(
                command=SignNorm,
                where=where["apply"],
                fields={"apply": 1, **common},
                at=at,
                reads={"x.read": x, "stats.read": (stats,)},
                writes={"bits.write": (bits,)},
                pieces={"bits": made},
            ),
        ]

    def head_norm(self, part: str, tile: Tile, head: int) -> list[Task]:
        """Both passes over the kept sums of q or k of a tile and head."""
        norm = f"attn.{part}_norm"
        sums = Value("head_sums", (tile.index, head, "qk".index(part)))
        stats, bits = Value(f"{norm}.stats", (tile.index, head)), Value(norm, (tile.index, head))
        common = {
            "rows": tile.rows,
            "chunks": self.layout.head_chunks,
            "stride": self.layout.engine.chunks_per_word,
            "channels": self.shape.head_dim,
            "mean": 0,
            "token": tile.token,
        }
        at = {
            "x": At(sums),
            "param": At(Param("head_norm", norm, head)),
            "eps": At(Param("norm_eps", norm, head)),
            "dst": At(bits),
        }
        where = {part: Where(norm, tile.index, tile.token, head, part=part) for part in ("stats", "apply")}
        return [
            Task(
                command=HeadNorm,
                where=where["stats"],
                fields={"apply": 0, **common},
                at=at,
                reads={"x.read": (sums,)},
                writes={"stats.write": (stats,)},
                pieces={what: Piece(f"{norm}.{what}", (head, tile.tokens)) for what in ("s1", "r")},
            ),
            Task(
                command=HeadNorm,
                where=where["apply"],
                fields={"apply": 1, **common},
                at=at,
                reads={"x.read": (sums,), "stats.read": (stats,)},
                writes={"bits.write": (bits,)},
                pieces={"bits": Piece(norm, (head, tile.tokens, range(self.shape.head_dim)))},
            ),
        ]

    def table(self, head: int) -> Task:
        """Load one head's table into the attention unit."""
        return Task(
            command=Table,
            where=Where("attn.attn_sign", head=head),
            at={"param": At(Param("tables", "attn.attn_sign", head))},
            writes={"all": (Value("table", (head,)),)},
        )

    def attention(self, tile: Tile, head: int) -> Task:
        """Attention bits of one tile and head from its scores."""
        bits = Value("attn.attn_sign", (tile.index, head))
        name, keys = "attn.attn_sign", self.shape.window_tokens
        return Task(
            command=Attention,
            where=Where(name, tile.index, tile.token, head),
            fields={"rows": tile.rows, "keys": keys},
            at={"dst": At(bits)},
            reads={
                "scores.read": (Value("attn.scores", (tile.index, head)),),
                "destination": (Value("table", (head,)),),
            },
            writes={"bits.write": (bits,)},
            pieces={
                "m": Piece(f"{name}.m", (head, tile.tokens)),
                "z": Piece(f"{name}.z", (head, tile.tokens)),
                "bits": Piece(name, (head, tile.tokens, range(keys))),
            },
        )
