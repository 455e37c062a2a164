"""The operations of one image, in program order, with all their fields and dependencies."""

from __future__ import annotations

from . import timing
from .engine import WORD
from .isa import BIT_DESTINATIONS, COLUMN_MEMORIES, EPILOGUES, PRELOADS, ROW_MEMORIES
from .layout import Group, Layout, Tile
from .schedule import Op, Region
from .timing import Activity


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
        self.layout, self.patch_shift = layout, patch_shift
        self.config, self.formats, self.engine = layout.config, layout.formats, layout.engine

    # Sections.

    def before(self) -> list[Op]:
        """Patch embedding, one strip at a time, and the constant prefix tokens."""
        config, layout = self.config, self.layout
        ops = []
        prefix = config.num_prefix_tokens
        if prefix:
            words = prefix * layout.row_chunks
            ops.append(
                Op(
                    op="prefix",
                    fields={"words": words},
                    layer="patch_embed",
                    unit="dense",
                    activity=timing.prefix(self.engine, words),
                    ports={"x.write": "x.write"},
                    writes={"x.write": self._tokens(0, prefix)},
                )
            )
        ops += [self._embed(prefix + strip * config.grid_size) for strip in range(config.grid_size)]
        return ops

    def block(self) -> list[Op]:
        """One transformer block: keys and values of all tokens first, then attention head by head, then the rest tile by tile."""
        tiles = self.layout.tiles()
        ops: list[Op] = []
        for tile in tiles:
            ops += self._sign_norm("norm1", tile)
            for head in range(self.config.num_heads):
                ops += [*self._q_or_k("k", tile, head), *self._value(tile, head), *self._q_or_k("q", tile, head)]
        for head in range(self.config.num_heads):
            ops += self._table(head)
            for tile in tiles:
                ops += self._attention(tile, head, buffer=tile.index % 2)
        for tile in tiles:
            ops += self._mlp_of(tile)
        return ops

    def after(self) -> list[Op]:
        """Pooling, last norm, classifier, output."""
        config, layout = self.config, self.layout
        n = config.num_tokens
        ops = []
        if config.pool == "mean":
            fields = {
                "tokens": n,
                "chunks": layout.row_chunks,
                "stride": layout.row_chunks,
                "shift": config.pool_shift,
                "dst_addr": layout.x_addr(n),
            }
            ops.append(
                Op(
                    op="pool",
                    fields=fields,
                    layer="pool",
                    unit="head",
                    activity=timing.pool(self.engine, n, layout.row_chunks),
                    ports={"x.read": "x.read", "x.write": "x.write"},
                    reads={"x.read": self._tokens(0, n)},
                    writes={"x.write": self._tokens(n, 1)},
                    token=n,
                )
            )
        first = n if config.pool == "mean" else 0
        ops.append(self._norm_pass("norm", Tile(0, first, config.head_rows), apply=0))
        ops += [self._normalise(row, first + row) for row in range(config.head_rows)]
        return [*ops, self._logits(), self._output()]

    # Front and back.

    def _embed(self, token: int) -> Op:
        config, layout = self.config, self.layout
        fields = {
            "token": token,
            "patches": config.grid_size,
            "groups": layout.dense_groups,
            "chunks": layout.row_chunks,
            "stride": layout.row_chunks,
            "patch_rows": config.patch_size,
            "patch_row_bytes": config.patch_size * config.in_chans,
            "row_bytes": config.img_size * config.in_chans,
            "shift": self.patch_shift,
        }
        return Op(
            op="embed",
            fields=fields,
            layer="patch_embed",
            unit="dense",
            activity=timing.embed(
                self.engine, config.grid_size, layout.dense_groups, layout.row_chunks, config.patch_dim
            ),
            ports={"x.write": "x.write"},
            writes={"x.write": self._tokens(token, config.grid_size)},
            token=token,
        )

    def _normalise(self, row: int, token: int) -> Op:
        d = self.config.embed_dim
        fields = {"row": row, "x_addr": self.layout.x_addr(token), "channels": d, "y_addr": row * d}
        return Op(
            op="normalise",
            fields=fields,
            layer="norm",
            unit="head",
            activity=timing.normalise(self.engine, d),
            ports={"x.read": "x.read"},
            reads={"stats.read": (("sign_stats", 0),), "x.read": self._tokens(token, 1)},
            writes={"y.write": (("y", row),)},
            token=row,
        )

    def _logits(self) -> Op:
        layout = self.layout
        fields = {
            "inputs": layout.head_inputs,
            "groups": layout.class_groups,
            "weight_addr": layout.head_weight_addr,
        }
        return Op(
            op="logits",
            fields=fields,
            layer="head",
            unit="dense",
            activity=timing.logits(self.engine, layout.head_inputs, layout.class_groups),
            reads={"y.read": tuple(("y", row) for row in range(self.config.head_rows))},
            writes={"logits.w": (("logits", 0),)},
        )

    def _output(self) -> Op:
        classes = self.config.num_classes
        activity = timing.output(self.engine, classes)
        return Op(
            op="output",
            fields={"classes": classes},
            layer="head",
            unit="logits",
            # The memory's first word is read ahead of the first beat.
            activity=_with(activity, "logits.read", (1, activity.windows["logits.write"][1])),
            reads={"logits.read": (("logits", 0),)},
        )

    # A block.

    def _mlp_of(self, tile: Tile) -> list[Op]:
        """Projection, second norm and MLP of one tile."""
        layout, buffer = self.layout, tile.index % 2
        ops = [
            self._residual("attn.proj", "context", layout.context_addr(tile), ("context", tile.index), tile, group)
            for group in layout.groups(self.config.embed_dim)
        ]
        ops += self._sign_norm("norm2", tile)
        for group in layout.groups(self.config.hidden_dim):
            ops.append(
                self._matmul(
                    "mlp.fc1",
                    tile,
                    group,
                    a=("norm", layout.norm_addr(tile), ("norm", tile.index)),
                    steps=layout.embed_words,
                    threshold=layout.preload_addr("mlp.fc1", group.index),
                    bits=("hidden", layout.hidden_addr(buffer), ("hidden", buffer)),
                    chunk=group.column // self.engine.lanes,
                )
            )
        ops += [
            self._residual("mlp.fc2", "hidden", layout.hidden_addr(buffer), ("hidden", buffer), tile, group)
            for group in layout.groups(self.config.embed_dim)
        ]
        return ops

    def _q_or_k(self, part: str, tile: Tile, head: int) -> list[Op]:
        """Queries or keys of one tile and head: thresholded at once, or buffered and normalised."""
        layout = self.layout
        norm = f"attn.{part}_norm"
        index = 0 if part == "q" else 1
        if part == "q":
            bits = ("query", layout.query_addr(tile, head), ("query", tile.index, head))
        else:
            bits = ("key", layout.key_addr(head), ("key", head, tile.index))
        buffered = self.config.qk_mode == "layernorm"
        ops = []
        for group in layout.groups_of_head(head):
            flat = layout.qkv_group(index, head, group.index)
            ops.append(
                self._matmul(
                    "attn.qkv",
                    tile,
                    Group(flat, group.column, group.columns),
                    a=("norm", layout.norm_addr(tile), ("norm", tile.index)),
                    steps=layout.embed_words,
                    threshold=None if buffered else layout.preload_addr("attn.qkv", flat),
                    bits=None if buffered else bits,
                    head_norm=buffered,
                    chunk=group.index * self.engine.tile_chunks,
                    head=head,
                    part=part,
                )
            )
        if buffered:
            ops += [self._head_norm_pass(norm, tile, head, bits, apply) for apply in (0, 1)]
        return ops

    def _value(self, tile: Tile, head: int) -> list[Op]:
        layout = self.layout
        ops = []
        for group in layout.groups_of_head(head):
            flat = layout.qkv_group(2, head, group.index)
            kept = layout.value_group(head, group.index)
            ops.append(
                self._matmul(
                    "attn.qkv",
                    tile,
                    Group(flat, group.column, group.columns),
                    a=("norm", layout.norm_addr(tile), ("norm", tile.index)),
                    steps=layout.embed_words,
                    threshold=layout.preload_addr("attn.qkv", flat),
                    bits=("value", layout.value_addr(head, group.index), ("value", kept, tile.index)),
                    param_addr=kept,
                    sums=("sums", kept),
                    head=head,
                    part="v",
                )
            )
        return ops

    def _attention(self, tile: Tile, head: int, buffer: int) -> list[Op]:
        """Scores, their threshold, and the context of one tile and head."""
        layout, config = self.layout, self.config
        e, tiles = config.head_dim, layout.tiles()
        bits = ("attention", layout.attention_addr(buffer), ("attention", buffer))
        ops = []
        for keys in layout.key_groups():
            covering = tuple(
                ("key", head, t.index)
                for t in tiles
                if t.token < keys.column + keys.columns and keys.column < t.token + t.rows
            )
            ops.append(
                self._matmul(
                    "attn.scores",
                    tile,
                    keys,
                    a=("query", layout.query_addr(tile, head), ("query", tile.index, head)),
                    w=("key", layout.key_addr(head) + keys.index, covering),
                    steps=1,
                    constant=-(WORD - e),
                    threshold=layout.score_threshold_addr(head) if config.attn_mode == "score" else None,
                    bits=bits if config.attn_mode == "score" else None,
                    scores=config.attn_mode == "softmax",
                    chunk=keys.index * self.engine.tile_chunks,
                    head=head,
                )
            )
        if config.attn_mode == "softmax":
            ops.append(self._attention_threshold(tile, head, bits))
        for group in layout.groups_of_head(head):
            kept = layout.value_group(head, group.index)
            ops.append(
                self._matmul(
                    "attn.context",
                    tile,
                    group,
                    a=bits,
                    w=("value", layout.value_addr(head, group.index), tuple(("value", kept, t.index) for t in tiles)),
                    steps=layout.token_words,
                    constant=-layout.token_words * WORD,
                    read_sums=("sums", kept),
                    bits=("context", layout.context_addr(tile), ("context", tile.index)),
                    chunk=group.column // self.engine.lanes,
                    head=head,
                )
            )
        return ops

    def _table(self, head: int) -> list[Op]:
        if self.config.attn_mode != "softmax":
            return []
        activity = timing.table(self.engine)
        return [
            Op(
                op="table",
                fields={"param_addr": self.layout.table_addr(head)},
                layer="attn.attn_sign",
                unit="attention_threshold",
                activity=_with(activity, "all", (0, activity.busy)),
                writes={"all": (("table", 0),)},
                head=head,
            )
        ]

    def _attention_threshold(self, tile: Tile, head: int, bits: tuple[str, int, Region]) -> Op:
        n = self.config.num_tokens
        activity = _bits_written(timing.attention(self.engine, tile.rows, n))
        return Op(
            op="attention",
            fields={"rows": tile.rows, "keys": n, "dst_addr": bits[1]},
            layer="attn.attn_sign",
            unit="attention_threshold",
            activity=_with(activity, "all", (0, activity.windows["bits.write"][1])),
            ports={"bits.write": "attention.write"},
            reads={"scores.read": (("scores", 0),), "all": (("table", 0),)},
            writes={"bits.write": (bits[2],)},
            token=tile.token,
            head=head,
        )

    # Norms.

    def _sign_norm(self, norm: str, tile: Tile) -> list[Op]:
        return [self._norm_pass(norm, tile, apply) for apply in (0, 1)]

    def _norm_pass(self, norm: str, tile: Tile, apply: int) -> Op:
        """First (sums, root) or second (bits) pass of SignNorm; the last norm has only the first."""
        layout, chunks = self.layout, self.layout.row_chunks
        fields = self._norm_fields(tile, chunks, apply)
        fields |= {
            "x_addr": layout.x_addr(tile.token),
            "stride": chunks,
            "param_addr": 0 if norm == "norm" else layout.sign_norm_addr(norm),
            "eps": layout.eps_addr(norm),
            "channels": self.config.embed_dim,
            "mean": int(self.config.norm_mode == "mean" and norm != "norm"),
            "dst_mem": BIT_DESTINATIONS.index("norm"),
            "dst_addr": layout.norm_addr(tile),
        }
        activity = timing.sign_norm(self.engine, bool(apply), tile.rows, chunks)
        return Op(
            op="sign_norm",
            fields=fields,
            layer=norm,
            unit="sign_norm",
            activity=_bits_written(activity) if apply else activity,
            ports={"x.read": "x.read"} | ({"bits.write": "norm.write"} if apply else {}),
            reads={"x.read": self._tokens(tile.token, tile.rows)}
            | ({"stats.read": (("sign_stats", 0),)} if apply else {}),
            writes={"bits.write": (("norm", tile.index),)} if apply else {"stats.write": (("sign_stats", 0),)},
            token=tile.token,
            part="apply" if apply else "stats",
        )

    def _head_norm_pass(self, norm: str, tile: Tile, head: int, bits: tuple[str, int, Region], apply: int) -> Op:
        layout, chunks = self.layout, self.layout.head_chunks
        fields = self._norm_fields(tile, chunks, apply)
        fields |= {
            "stride": self.engine.chunks_per_word,
            "param_addr": layout.head_norm_addr(norm, head),
            "eps": layout.eps_addr(norm, head),
            "channels": self.config.head_dim,
            "dst_mem": BIT_DESTINATIONS.index(bits[0]),
            "dst_addr": bits[1],
        }
        activity = timing.head_norm(self.engine, bool(apply), tile.rows, chunks)
        return Op(
            op="head_norm",
            fields=fields,
            layer=norm,
            unit="head_norm",
            activity=_bits_written(activity) if apply else activity,
            ports={"bits.write": f"{bits[0]}.write"} if apply else {},
            reads={"x.read": (("head_buffer", 0),)} | ({"stats.read": (("head_stats", 0),)} if apply else {}),
            writes={"bits.write": (bits[2],)} if apply else {"stats.write": (("head_stats", 0),)},
            token=tile.token,
            head=head,
            part="apply" if apply else "stats",
        )

    @staticmethod
    def _norm_fields(tile: Tile, chunks: int, apply: int) -> dict[str, int]:
        return {"apply": apply, "rows": tile.rows, "chunks": chunks, "x_addr": 0, "mean": 0, "token": tile.token}

    # The array.

    def _residual(self, layer: str, memory: str, a_addr: int, region: Region, tile: Tile, group: Group) -> Op:
        layout = self.layout
        k, steps = (
            (self.config.hidden_dim, layout.hidden_words)
            if layer == "mlp.fc2"
            else (self.config.embed_dim, layout.embed_words)
        )
        chunk = group.column // self.engine.lanes
        return self._matmul(
            layer,
            tile,
            group,
            a=(memory, a_addr, region),
            steps=steps,
            constant=-(steps * WORD - k) - k // 2,
            residual=layout.x_addr(tile.token) + chunk,
            param_addr=layout.residual_addr(layer) + chunk,
        )

    def _matmul(
        self,
        layer: str,
        tile: Tile,
        group: Group,
        *,
        a: tuple[str, int, Region],
        steps: int,
        w: tuple[str, int, tuple[Region, ...]] | None = None,
        constant: int | None = None,
        threshold: int | None = None,
        read_sums: Region | None = None,
        bits: tuple[str, int, Region] | None = None,
        scores: bool = False,
        head_norm: bool = False,
        residual: int | None = None,
        sums: Region | None = None,
        chunk: int = 0,
        param_addr: int = 0,
        head: int = 0,
        part: str = "",
    ) -> Op:
        """One tile of one layer; the epilogue is the one whose argument is given."""
        engine, layout = self.engine, self.layout
        chunks = -(-group.columns // engine.lanes)
        epilogue = "bits" if bits else "scores" if scores else "head_norm" if head_norm else "residual"
        preload = "preload" if threshold is not None else "value_sums" if read_sums else "none"
        k = self.config.embed_dim
        if constant is None:
            # Thresholded linears carry padding, K/2 and Theta in the preload word.
            constant = 0 if threshold is not None else -(steps * WORD - k) - k // 2
        preload_addr = threshold if threshold is not None else read_sums[1] if read_sums else 0  # type: ignore[index]
        memory, dst_addr, region = bits or ("query", residual or 0, ())
        fields = {
            "a_mem": ROW_MEMORIES.index(a[0]),
            "a_addr": a[1],
            "w_mem": COLUMN_MEMORIES.index(w[0] if w else "weights"),
            "w_addr": w[1] if w else layout.weights_addr(layer, group.index),
            "steps": steps,
            "preload": PRELOADS.index(preload),
            "preload_addr": preload_addr,
            "preload_const": constant,
            "epilogue": EPILOGUES.index(epilogue),
            "rows": tile.rows,
            "chunks": chunks,
            "columns": group.columns,
            "dst_mem": BIT_DESTINATIONS.index(memory),
            "dst_addr": dst_addr,
            "dst_chunk": chunk,
            "token": tile.token,
            "stride": layout.row_chunks,
            "param_addr": param_addr,
            "first": int(part == "v" and tile.index == 0),
        }
        activity = timing.matmul(steps, tile.rows, chunks)
        ports = {"array": "array", "preload.read": "preload.read", "drain": "drain"}
        reads: dict[str, tuple[Region, ...]] = {"array": (a[2], *(w[2] if w else ()))}
        writes: dict[str, tuple[Region, ...]] = {}
        if bits:
            ports["bits.write"] = f"{memory}.write"
            writes["bits.write"] = (region,)
        elif scores:
            writes["drain"] = (("scores", 0),)
        elif head_norm:
            writes["drain"] = (("head_buffer", 0),)
        else:
            tokens = self._tokens(tile.token, tile.rows)
            activity = _with(activity, "x.read", activity.windows["drain"])
            ports |= {"x.read": "x.read", "x.write": "x.write"}
            reads["x.read"] = writes["x.write"] = tokens
        if sums:
            writes["sums.write"] = (sums,)
            reads["sums.read"] = (sums,)
        if read_sums:
            reads["preload.read"] = (read_sums,)
        return Op(
            op="matmul",
            fields=fields,
            layer=layer,
            unit="xnor_array",
            activity=activity,
            ports=ports,
            reads=reads,
            writes=writes,
            token=tile.token,
            column=group.column,
            head=head,
            part=part,
        )

    @staticmethod
    def _tokens(first: int, count: int) -> tuple[Region, ...]:
        return tuple(("x", token) for token in range(first, first + count))


def _with(activity: Activity, name: str, window: tuple[int, int]) -> Activity:
    return Activity(activity.busy, {**activity.windows, name: window})


def _bits_written(activity: Activity) -> Activity:
    """Move a unit's bits by the cycle that the store takes to write them."""
    first, end = activity.windows["bits.write"]
    return _with(activity, "bits.write", (first + timing.BITS_WRITE, end + timing.BITS_WRITE))
