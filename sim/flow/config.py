"""The configuration of an engine: array and limits, and widths and depths of what works beside the array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..engine.config import EngineConfig, Fabric
from ..engine.pipeline import BLOCK_BITS, SHARED_PRODUCT, fits
from ..engine.words import MemoryStyle, ceil_div
from ..errors import check
from .windows import WindowLimits

#: Slots of each ring and queue: field, least, and most.
_DEPTHS = {
    "patch_slots": (0, 16),
    "residual_slots": (2, 16),
    "head_slots": (2, 16),
    "score_slots": (2, 16),
    "attention_slots": (2, 16),
    "norm_slots": (2, 16),
    "context_slots": (1, 16),
    "hidden_slots": (1, 16),
    "staging_slots": (2, 16),
}
#: Memories that can be asked to be block memories or memories in look-up tables: the large ones.
STYLED = (
    *("weights", "preload", "dense_weights", "positions", "x", "ring"),
    *("norm", "query", "bits", "keys", "values"),
)
#: Units that an engine can do without: where their lanes are 0, networks have this mode.
LEFT_OUT = {"head_norm_lanes": ("qk_mode", "threshold"), "softmax_lanes": ("attn_mode", "score")}
#: Where the weights of the blocks are: on the chip, or in a memory beside it, from which each block's come in time.
Weights = Literal["resident", "streamed"]
#: Widths in bits that the port to that memory can have.
MEMORY_BITS = (64, 128, 256, 512)
#: Beats of a burst but for a part's last one; so many of the widest port are the 4,096 bytes that a burst may have.
BURST_BEATS = 64
#: Images in flight, at most.
_MOST_IMAGES = 8
#: Patches, and channels of each, that are summed together, at most.
_MOST_PATCHES, _MOST_CHANNELS = 64, 512


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """Shape of one engine (docs/accelerator.md).

    A unit of so many lanes takes whole rows of `columns` sums side by side, or an even part of one row, a cycle.

    Parameters
    ----------
    engine : EngineConfig
        Array, formats and the largest model; its `lanes` are those of the patch embedding.
    drain_rows : int
        Rows of sums that leave the array in a cycle, 1 to `rows`: a multiple of the rows that any unit takes.
    norm_lanes : int
        Elements a cycle of ResidualAdd with its statistics, and of SignNorm.
    head_norm_lanes : int
        Elements a cycle of either pipeline of HeadNorm, at most 64; 0 for an engine without it, whose networks have
        `qk_mode` threshold.
    softmax_lanes : int
        Scores a cycle of the sums of Exp, and of the comparison; 0 for an engine without the softmax, whose networks
        have `attn_mode` score.
    value_rows : int
        Rows of bits that are written to the values in a cycle: a power of two, at most `columns`.
    images : int
        Images in flight, 1 to 8.
    patch_slots : int
        Passes of patches that the ring of pixels has room for, of the largest patches; 0 stands for three rows of
        patches and three passes more. With 1, pixels come while no pass is summed.
    dense_patches, dense_channels : int
        Patches, and output channels of each, that are summed together in the patch embedding; `dense_channels` 0 stands
        for the engine's `dense_lanes`, and is a multiple of `lanes` else.
    products_per_dsp : int
        1, or 2: in all patches but the first, two channels share a multiplier block, which then has to take 25 bits
        (`hw.edge.pair_block`), unless channels leave one by one since `norm_lanes` has a column only; or 0: the
        products of patches and classes are made of look-up tables.
    residual_slots, head_slots, score_slots : int
        Tiles of sums, and tiles and heads of sums and scores, that wait for their unit.
    attention_slots, norm_slots, context_slots, hidden_slots : int
        Tiles of bits (of the attention, tiles and heads); of the norms, for each of the two.
    staging_slots : int
        Tiles of x between ResidualAdd and SignNorm, for each of the two norms.
    edge_banks : int
        Images of x beside those in flight: 2, one that is embedded and one that leaves, or 1: then an image is embedded
        when the last norm has read the one that left. With streamed weights up to `images`: those in flight begin
        together, so that as many are embedded before. Or 0, for devices with little memory: an image is embedded where
        the one that left was.
    load_banks : int
        1: a load stream overwrites the network that is there; or 2: it fills a second bank of every loadable memory, so
        that the network before it stays in use until all of the stream is known to be right.
    weights : {"resident", "streamed"}
        The weights of all blocks lie in the engine; or those of two, with windows a ring of them, and a memory port
        reads the others while the blocks before them are computed: images in flight go through the blocks side by side
        then, and share them.
    ring_words : int
        Words of a ring of streamed weights, a power of two, of an engine without windows and with one image in flight:
        the weights of a block, a burst and what else is to be there before it is needed
        (`sim.flow.weight_stream.WeightStreamUnit.ring_words`). 0 where two blocks have a place each; windows have a
        ring of their own.
    memory_bits : int
        Width of that port, one of `MEMORY_BITS`; of no effect where weights are resident.
    edge_weights : {"resident", "streamed"}
        Where the weights of the classifier and the positions are; streamed ones are read by the same port, once an
        image. Only where `weights` are streamed.
    patch_weights : {"resident", "streamed"}
        Where the weights of the patch embedding are; streamed ones are read by the same port, once a pass: many patches
        and few channels read least. Only where `edge_weights` are streamed.
    windows : WindowLimits, optional
        Of an engine that runs networks with windows, stage after stage; it takes a row of x at a time, so that
        `norm_lanes` is at most `columns`. With streamed weights its `images` are at most those in flight, so that all
        of a group can be in the same block.
    block_memories, lut_memories : tuple of str
        Memories that are asked to be block memories where synthesis would take UltraRAM, and memories in look-up tables
        where it would take blocks: names of `STYLED`.

    Raises
    ------
    BivitError
        When a value is out of range: what, allowed, got.
    """

    engine: EngineConfig
    drain_rows: int
    norm_lanes: int
    head_norm_lanes: int
    softmax_lanes: int
    value_rows: int = 1
    images: int = 2
    dense_patches: int = 1
    dense_channels: int = 0
    patch_slots: int = 0
    products_per_dsp: int = 1
    residual_slots: int = 4
    head_slots: int = 4
    score_slots: int = 4
    attention_slots: int = 4
    norm_slots: int = 3
    context_slots: int = 3
    hidden_slots: int = 3
    staging_slots: int = 4
    edge_banks: int = 2
    load_banks: int = 1
    weights: Weights = "resident"
    ring_words: int = 0
    memory_bits: int = 128
    edge_weights: Weights = "resident"
    patch_weights: Weights = "resident"
    windows: WindowLimits | None = None
    block_memories: tuple[str, ...] = ()
    lut_memories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = self.engine.rows
        check(1 <= self.drain_rows <= rows, f"drain_rows must be 1 to rows ({rows}), got {self.drain_rows}")
        for name in ("norm_lanes", "head_norm_lanes", "softmax_lanes"):
            self._check_lanes(name)
        check(self.head_norm_lanes <= 64, f"head_norm_lanes must be at most 64, got {self.head_norm_lanes}")
        check(
            0 < self.value_rows <= self.engine.columns and self.value_rows & (self.value_rows - 1) == 0,
            f"value_rows must be a power of two, at most columns ({self.engine.columns}), got {self.value_rows}",
        )
        check(1 <= self.images <= _MOST_IMAGES, f"images must be 1 to {_MOST_IMAGES}, got {self.images}")
        most = max(2, self.images) if self.streamed and self.windows is None else 2
        check(0 <= self.edge_banks <= most, f"edge_banks must be 0 to {most}, got {self.edge_banks}")
        check(self.load_banks in (1, 2), f"load_banks must be 1 or 2, got {self.load_banks}")
        self._check_weights()
        self._check_windows()
        self._check_dense()
        self._check_products()
        self._check_styles()
        for name, (least, most) in _DEPTHS.items():
            value = getattr(self, name)
            check(least <= value <= most, f"{name} must be {least} to {most}, got {value}")

    def _check_weights(self) -> None:
        """Check where weights are, and the port that they come by."""
        check(self.weights in ("resident", "streamed"), f"weights must be resident or streamed, got {self.weights!r}")
        ring = self.ring_words
        check(ring >= 0 and ring & (ring - 1) == 0, f"ring_words must be 0 or a power of two, got {ring}")
        check(
            not ring or (self.streamed and self.windows is None and self.images == 1),
            f"ring_words must be 0, got {ring}: only an engine with streamed weights, without windows and with one "
            "image in flight has such a ring",
        )
        allowed = ", ".join(str(bits) for bits in MEMORY_BITS)
        check(self.memory_bits in MEMORY_BITS, f"memory_bits must be one of {allowed}, got {self.memory_bits}")
        for name, before in (("edge_weights", "weights"), ("patch_weights", "edge_weights")):
            where = getattr(self, name)
            check(where in ("resident", "streamed"), f"{name} must be resident or streamed, got {where!r}")
            check(
                where == "resident" or getattr(self, before) == "streamed",
                f"{name} must be resident where {before} are, got {where}; stream both",
            )

    def _check_windows(self) -> None:
        """Check that rows of x can be taken one by one, in any order."""
        if self.windows is None:
            return
        most = self.engine.max_hidden_dim
        check(
            self.norm_dim <= most,
            f"windows.merged_dim must be at most max_hidden_dim ({most}), got {self.windows.merged_dim}",
        )
        most = 2 * self.engine.max_embed_dim
        check(
            self.windows.merged_dim <= most,
            f"windows.merged_dim must be at most twice max_embed_dim ({most}), got {self.windows.merged_dim}",
        )
        check(self.load_banks == 1, f"an engine with windows has load_banks 1, got {self.load_banks}")
        if self.streamed:
            words, together = self.windows.ring_words, self.windows.images
            check(words >= 1, f"windows.ring_words must be 1 or more where weights are streamed, got {words}")
            check(
                together <= self.images,
                f"windows.images must be at most images ({self.images}) where weights are streamed, got {together}",
            )

    def _check_dense(self) -> None:
        """Set `dense_channels` where it is left out; a word of the weights has at most 64 beats of 64 bits."""
        object.__setattr__(self, "dense_channels", self.dense_channels or self.engine.dense_lanes)
        lanes = self.engine.lanes
        check(
            1 <= self.dense_patches <= _MOST_PATCHES,
            f"dense_patches must be 1 to {_MOST_PATCHES}, got {self.dense_patches}",
        )
        check(
            0 < self.dense_channels <= _MOST_CHANNELS and self.dense_channels % lanes == 0,
            f"dense_channels must be a multiple of lanes ({lanes}) up to {_MOST_CHANNELS}, got {self.dense_channels}",
        )
        check(
            not self.edge_streamed or self.dense_channels <= self.most_streamed_channels,
            f"dense_channels must be at most {self.most_streamed_channels} where edge_weights are streamed by "
            f"{self.memory_bits} bits, since bursts hold whole words, got {self.dense_channels}; take a wider port",
        )

    def _check_products(self) -> None:
        """Check that a multiplier block holds the products that share it."""
        check(self.products_per_dsp in (0, 1, 2), f"products_per_dsp must be 0, 1 or 2, got {self.products_per_dsp}")
        block, needed = self.engine.block_bits, SHARED_PRODUCT
        check(
            self.products_per_dsp < 2 or fits(needed, block),
            f"products_per_dsp must be 0 or 1 in fabric {self.engine.fabric}, got {self.products_per_dsp}: two "
            f"products share a multiplier block of {needed[0]} x {needed[1]} bits or more, those of "
            f"{self.engine.fabric} have {block[0]} x {block[1]}",
        )

    def _check_styles(self) -> None:
        """Check that memories are asked for by their names, and for one thing each."""
        for field in ("block_memories", "lut_memories"):
            for name in getattr(self, field):
                check(name in STYLED, f"{field} may have {', '.join(STYLED)}, got {name!r}")
        twice = sorted({*self.block_memories} & {*self.lut_memories})
        check(not twice, f"a memory is in block_memories or in lut_memories, got {', '.join(twice)} in both")

    def _check_lanes(self, name: str) -> None:
        """Check that lanes are even parts of a row of sums, or whole rows that the drain delivers together."""
        lanes, columns = getattr(self, name), self.engine.columns
        if lanes == 0 and name in LEFT_OUT:
            check(self.windows is None, f"{name} must be 1 or more in an engine with windows, got 0")
            return
        even = lanes > 0 and (lanes % columns == 0 or columns % lanes == 0)
        check(even, f"{name} must divide columns ({columns}) or be a multiple of it, got {lanes}")
        side = self.rows_of(lanes)
        check(
            self.drain_rows % side == 0,
            f"drain_rows must be a multiple of the {side} rows that {name} {lanes} takes, got {self.drain_rows}",
        )

    def in_fabric(self, fabric: Fabric) -> FlowConfig:
        """Return the engine in other logic, with a product a multiplier block where those are too small for two.

        Parameters
        ----------
        fabric : {"lut6", "lut4"}
        """
        products = min(self.products_per_dsp, 2 if fits(SHARED_PRODUCT, BLOCK_BITS[fabric]) else 1)
        return replace(self, engine=replace(self.engine, fabric=fabric), products_per_dsp=products)

    def style_of(self, memory: str) -> MemoryStyle:
        """Return what a memory is asked to be made of.

        Parameters
        ----------
        memory : str
            Its name; one that is not in `STYLED` is left to synthesis.
        """
        if memory in self.block_memories:
            return "block"
        return "distributed" if memory in self.lut_memories else "auto"

    def rows_of(self, lanes: int) -> int:
        """Return how many rows a unit of so many lanes takes side by side.

        Parameters
        ----------
        lanes : int
        """
        return max(1, lanes // self.engine.columns)

    def columns_of(self, lanes: int) -> int:
        """Return how many columns of a row such a unit takes in a cycle.

        Parameters
        ----------
        lanes : int
        """
        return min(lanes, self.engine.columns)

    @property
    def has_head_norm(self) -> bool:
        """Whether there is a HeadNorm: q and k may be normalised."""
        return self.head_norm_lanes > 0

    @property
    def has_softmax(self) -> bool:
        """Whether there is a softmax: the attention may be one."""
        return self.softmax_lanes > 0

    @property
    def streamed(self) -> bool:
        """Whether weights come from a memory beside the engine."""
        return self.weights == "streamed"

    @property
    def edge_streamed(self) -> bool:
        """Whether the classifier's weights and the positions do, too."""
        return self.edge_weights == "streamed"

    @property
    def patch_streamed(self) -> bool:
        """Whether the weights of the patch embedding do, too."""
        return self.patch_weights == "streamed"

    @property
    def most_streamed_channels(self) -> int:
        """Channels of which a burst holds a word of the classifier, at most."""
        return (BURST_BEATS - 1) * self.memory_bits // 8  # one of a burst's beats checks the others

    @property
    def norm_dim(self) -> int:
        """Channels that are normalised together, at most: of a token, or of those that are merged."""
        return max(self.engine.max_embed_dim, self.windows.merged_dim if self.windows else 0)

    @property
    def bias_window(self) -> int:
        """Side of the windows whose biases are held as a table of each head, 0 where none are."""
        return self.windows.bias_window if self.windows else 0

    @property
    def layers(self) -> int:
        """Blocks, and with windows patch mergings."""
        return self.windows.layers if self.windows else self.engine.max_depth

    @property
    def all_heads(self) -> int:
        """Heads of all blocks."""
        return self.windows.heads if self.windows else self.engine.max_depth * self.engine.max_heads

    @property
    def weight_ring(self) -> int:
        """Words of the ring of streamed weights; 0 where there is none."""
        if not self.streamed:
            return 0
        return self.windows.ring_words if self.windows else self.ring_words

    @property
    def weight_blocks(self) -> int:
        """Blocks whose weights the engine holds, without windows and without a ring."""
        return 2 if self.streamed else self.engine.max_depth

    @property
    def together(self) -> int:
        """Images that the engine works on at a time, and which share streamed weights."""
        return self.windows.images if self.windows else self.images

    @property
    def staged_tiles(self) -> int:
        """Tiles of x between ResidualAdd and SignNorm: those of norm1, then those of norm2."""
        return 2 * self.staging_slots

    @property
    def drain_cycles(self) -> int:
        """Cycles in which the sums of a tile leave the shadow registers."""
        return ceil_div(self.engine.rows, self.drain_rows)
