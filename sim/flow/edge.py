"""The edge of a dataflow engine: patch embedding, last norm and classifier: shapes, memories, stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..engine.norm_widths import SignNormWidths
from ..engine.pipeline import (
    CHOICES,
    POSITION_READ_CYCLES,
    REQUANTIZE_CYCLES,
    SHARED_BITS,
    SHARED_PRODUCT,
    Product,
    choose_cycles,
    divide_cycles,
    multiply_cycles,
    partial_products,
)
from ..engine.words import LoadMemory, Memory, ceil_div
from ..errors import check
from ..network.formats import DENSE_WEIGHT_BITS, EPS_BITS, HEAD_BIAS_BITS, PATCH_BIAS_BITS, PATCH_SCALE_BITS
from .config import FlowConfig
from .memories import loaded
from .patch_norm import PatchNormUnit
from .residual_add import ResidualAddUnit

#: Signed width of a pixel.
PIXEL_BITS = 9


@dataclass(frozen=True)
class EdgeUnit:
    """Everything beside the blocks of a network.

    `patches` patches side by side are summed for `channels` outputs each: a *pass* goes over the channels in *groups*,
    a pixel of each patch a *step*. Behind a group's steps its sums leave in *chunks* of `chunk` channels, from
    multiplier to multiplier, and no step is taken until they have left. The classifier uses the multipliers of the
    first patch.

    Parameters
    ----------
    flow : FlowConfig

    Raises
    ------
    BivitError
        When the format of y has too many fraction bits for so many channels; see `hw.edge.last_norm.LastNorm`.
    """

    flow: FlowConfig

    name = "edge"
    #: Signed width of y, an input of the classifier.
    y_bits = 16

    def __post_init__(self) -> None:
        frac_bits, channels = self.flow.engine.formats.head_frac_bits, self.flow.engine.max_embed_dim
        check(
            2 * (channels - 1) << 2 * frac_bits < ((1 << self.y_bits - 1) - 1) ** 2,
            f"y has {self.y_bits} bits: sqrt(2 * (max_embed_dim - 1)) * 2^head_frac_bits must be below "
            f"2^{self.y_bits - 1} - 1, got max_embed_dim {channels} and head_frac_bits {frac_bits}; "
            "lower head_frac_bits",
        )

    # Shapes.

    @property
    def patches(self) -> int:
        """Patches of a pass."""
        return self.flow.dense_patches

    @property
    def channels(self) -> int:
        """Channels of a group."""
        return self.flow.dense_channels

    @property
    def paired(self) -> bool:
        """Whether two channels of a chunk share a multiplier; not in the first patch, whose multipliers take y."""
        return self.flow.products_per_dsp == 2 and self.patches > 1 and self.chunk > 1

    @property
    def chunk(self) -> int:
        """Channels that leave together; those of a write of x."""
        return min(self.flow.engine.lanes, self.columns)

    @property
    def group_chunks(self) -> int:
        """Chunks of one patch's group."""
        return self.channels // self.chunk

    @property
    def leave_cycles(self) -> int:
        """Cycles in which the sums of a pass leave, a chunk each."""
        return self.patches * self.group_chunks

    @property
    def side(self) -> int:
        """Rows of a word of x; with windows a word is of one."""
        return 1 if self.flow.windows else self.flow.rows_of(self.flow.norm_lanes)

    @property
    def columns(self) -> int:
        """Columns of a word of x."""
        return self.flow.columns_of(self.flow.norm_lanes)

    @property
    def word_chunks(self) -> int:
        """Chunks of a row of a word of x."""
        return self.columns // self.chunk

    @property
    def tile_words(self) -> int:
        """Words of a tile of x."""
        return ResidualAddUnit(self.flow).tile_words

    @property
    def bank_words(self) -> int:
        """Addresses of an image of x."""
        return ResidualAddUnit(self.flow).bank_words

    @property
    def banks(self) -> int:
        """Images of x, as of `ResidualAddUnit.banks`."""
        return ResidualAddUnit(self.flow).banks

    @property
    def x_addr_bits(self) -> int:
        """Width of an address of x."""
        return ResidualAddUnit(self.flow).x_addr_bits

    @property
    def patch_norm(self) -> PatchNormUnit | None:
        """What normalises patches, in engines with windows."""
        return PatchNormUnit(self.flow) if self.flow.windows else None

    def row_stride(self, channels: int) -> int:
        """Return the words from one row group of x to the next.

        Parameters
        ----------
        channels : int
            Of the network.
        """
        return ceil_div(channels, self.flow.engine.columns) * ResidualAddUnit(self.flow).parts

    # Patches.

    def strip_passes(self, grid: int) -> int:
        """Return how many passes a row of patches may lie in.

        Parameters
        ----------
        grid : int
            Patches in the row.
        """
        starts = {strip * grid % self.patches for strip in range(grid)}
        return max(ceil_div(start + grid, self.patches) for start in starts)

    @property
    def ring_words(self) -> int:
        """Words of the ring of patches: `patch_slots` of each place in a pass, or three rows of patches and three more.

        One row comes in, one is summed, and one waits while the classifier has the multipliers.
        """
        engine, slots = self.flow.engine, self.flow.patch_slots
        rows = 0 if slots else ceil_div(3 * engine.max_strip_bytes, self.patches)
        return ceil_div(rows, engine.pixel_bytes) + (slots or 3) * ceil_div(engine.max_patch_dim, engine.pixel_bytes)

    # Widths.

    @cached_property
    def widths(self) -> SignNormWidths:
        """Widths of the last norm's sums and root."""
        return SignNormWidths(self.flow.engine)

    @property
    def patch_bits(self) -> int:
        """Signed width that no sum of a patch leaves."""
        return (255 * self._weight * self.flow.engine.max_patch_dim).bit_length() + 1

    @property
    def acc_bits(self) -> int:
        """Signed width that no sum of the patch embedding or the classifier leaves.

        A patch gives at most 255 * 128 * K. For the classifier, let d[c] = N_c*x[c] - S1. Its squares add up to
        N_c * (V - Eps), so by Cauchy sum |d[c]| <= N_c * sqrt(V - Eps), and sqrt(V - Eps) / R <= sqrt(2) for
        R = isqrt(V) and Eps >= 1. Hence sum |y[c]| <= N_c * (sqrt(2) * 2^head_frac_bits + 1), for each of two rows at
        most; 3/2 stands for the root of 2. The lower sum of a pair has a place in it, too.
        """
        row = self.flow.engine.max_embed_dim * ((3 << self.flow.engine.formats.head_frac_bits) // 2 + 2)
        shared = SHARED_BITS + self.overflow_bits if self.paired else 0
        return max(self.patch_bits, (2 * self._weight * row).bit_length() + 1, shared)

    @property
    def pixels_bits(self) -> int:
        """Width of the sum of a patch's pixels."""
        return (255 * self.flow.engine.max_patch_dim).bit_length()

    @property
    def overflow_bits(self) -> int:
        """Width of how often the lower sum of a pair overflows: one of products of uint8."""
        return max(1, (255 * 255 * self.flow.engine.max_patch_dim).bit_length() - SHARED_BITS)

    @property
    def _weight(self) -> int:
        return 1 << (DENSE_WEIGHT_BITS - 1)

    @property
    def pool_bits(self) -> int:
        """Signed width of the sum of all tokens."""
        tokens = max(self.flow.engine.max_tokens, self.flow.windows.image_tokens if self.flow.windows else 0)
        return self.flow.engine.formats.residual_bits + (tokens - 1).bit_length()

    @property
    def q_bits(self) -> int:
        """Unsigned width of Q = 2^head_m / R."""
        return self.flow.engine.formats.head_m + 1

    @property
    def y_addr_bits(self) -> int:
        """Width of an address of y."""
        return (self.memories["y"].depth - 1).bit_length()

    # Stages of the multipliers, from a step on.

    #: From a decision what begins to the unit that chunks leave by: it is far from what decides.
    told_cycles = 1
    #: A step's pixels, y and weights are there.
    input_stage = 3
    #: A step is added to the sums.
    sum_stage = 6
    #: From a chunk's place to the cycle in which the next one takes its place.
    shift_stage = 2
    #: Behind a group's last step its sums begin to leave in the next cycle, when they are complete in two.
    captured_stage = sum_stage - shift_stage

    @property
    def patch_blocks(self) -> int:
        """Blocks of `CHOICES` chunks of one patch's group."""
        return ceil_div(self.group_chunks, CHOICES)

    @property
    def chunk_stage(self) -> int:
        """Stage of a chunk that leaves, from its place on: register, one of two chains; counts chosen, pairs parted."""
        return 2 + self.shift_stage + (choose_cycles((self.patches - 1) * self.patch_blocks) + 1 if self.paired else 0)

    @property
    def x_stage(self) -> int:
        """Stage of a chunk's write to x."""
        return self.chunk_stage + REQUANTIZE_CYCLES

    @property
    def logit_stage(self) -> int:
        """Stage of a logit at the queue: chosen of the chunk, with its bias."""
        return self.chunk_stage + 2

    @property
    def quiet_cycles(self) -> int:
        """Cycles without a step or a chunk behind which nothing is on its way."""
        return max(self.x_stage, self.captured_stage) + 1

    # Stages of the last norm.

    #: From a token's word in a row to the write of the sum of tokens: its address, the word in two cycles, the sum.
    pool_stage = 4
    #: From a channel of the pooled row to x: word and choice of the channel, and the shift.
    norm_x_stage = 3

    @property
    def sums_stage(self) -> int:
        """Stage of S1 and S2 behind a row's last channel."""
        return self.norm_x_stage + self.square_cycles + 1

    @property
    def square_cycles(self) -> int:
        """Latency of x * x."""
        return multiply_cycles((self.widths.x_bits, self.widths.x_bits), self.flow.engine.block_bits)

    @property
    def scaled_cycles(self) -> int:
        """Latency of N*x."""
        return multiply_cycles(self._scaled_operands, self.flow.engine.block_bits)

    @property
    def normalised_cycles(self) -> int:
        """Latency of the product with Q."""
        return multiply_cycles(self._normalised_operands, self.flow.engine.block_bits)

    @property
    def y_stage(self) -> int:
        """Stage of the write of y: N*x, S1 subtracted, times Q."""
        return self.norm_x_stage + self.scaled_cycles + 1 + self.normalised_cycles

    @property
    def _scaled_operands(self) -> Product:
        return self.widths.x_bits, self.widths.channels_bits + 1

    @property
    def _normalised_operands(self) -> Product:
        return self.widths.s1_bits + 1, self.q_bits + 1

    def pool_cycles(self, words: int, tokens: int) -> int:
        """Return the cycles in which x is read for a pooled row.

        Parameters
        ----------
        words : int
            Words of a row.
        tokens : int
            Tokens that are summed.
        """
        return words * tokens

    def norm_cycles(self, channels: int) -> int:
        """Return the cycles from the last read of x for a row to the last write of its y.

        Parameters
        ----------
        channels : int
        """
        statistics = self.pool_stage + channels + self.sums_stage
        divided = self.widths.root_cycles + divide_cycles(self.flow.engine.formats.head_m)
        return statistics + divided + channels + self.y_stage

    # Views.

    @property
    def memories(self) -> Mapping[str, Memory]:
        """The ring of patches, a bank for each of a pass; a pooled row; y of up to two rows."""
        engine = self.flow.engine
        words = self.row_stride(engine.max_embed_dim)  # also those without channels, in the last column group
        return {
            "patches": Memory(self.patches * 8 * engine.pixel_bytes, self.ring_words, write_bits=8),
            "pooled": Memory(self.columns * self.pool_bits, max(2, words)),
            "y": Memory(self.y_bits, 2 * engine.max_embed_dim),
        }

    @property
    def load_memories(self) -> Mapping[str, LoadMemory]:
        """Its memories that the load stream fills, by name.

        dense_weights: int8 a channel of a group; patch_params: B, S a channel of a chunk; positions: P a channel of a
        chunk, in the order in which chunks leave; head_bias: int32; last_eps: Eps of the last norm. With windows
        patch_places: first word of a token in its bank, and what the norm of patches has. What is streamed is none
        of them (`edge_lines`).
        """
        engine = self.flow.engine
        d, channels = engine.max_embed_dim, self.channels
        classes = 0 if self.flow.edge_streamed else ceil_div(engine.max_classes, channels) * 2 * d
        chunks = ceil_div(d, self.chunk)
        shapes = {
            "dense_weights": (channels * DENSE_WEIGHT_BITS, ceil_div(d, channels) * engine.max_patch_dim + classes),
            "patch_params": (self.chunk * (PATCH_BIAS_BITS + PATCH_SCALE_BITS), chunks),
            "positions": (self.chunk * engine.formats.residual_bits, engine.max_tokens * chunks),
            "head_bias": (HEAD_BIAS_BITS, engine.max_classes),
            "last_eps": (EPS_BITS, 1),
        }
        if self.flow.edge_streamed:
            del shapes["positions"]
        if self.flow.patch_streamed:
            del shapes["dense_weights"]
        if self.flow.windows:
            shapes["patch_places"] = ((self.bank_words - 1).bit_length(), self.flow.windows.image_tokens)
        cycles = {"positions": POSITION_READ_CYCLES}
        found = {
            name: loaded(self.flow, name, width, depth, cycles.get(name, 1)) for name, (width, depth) in shapes.items()
        }
        return found | dict(self.patch_norm.load_memories if self.patch_norm else {})

    @property
    def lane_products(self) -> list[Product]:
        """Multiplications of a step, two of a pair as one: the first patch's multipliers take y as well."""
        first = [(self.y_bits, DENSE_WEIGHT_BITS)] * self.channels
        others = self.channels * (self.patches - 1)
        pairs = [SHARED_PRODUCT] * (others // 2)
        return first + (pairs if self.paired else [(PIXEL_BITS, DENSE_WEIGHT_BITS)] * others)

    @property
    def chunk_products(self) -> list[Product]:
        """Multiplications of a chunk that leaves: its requantizer."""
        return self._cut([(self.acc_bits, PATCH_SCALE_BITS)] * self.chunk)

    @property
    def norm_products(self) -> list[Product]:
        """Multiplications of the last norm."""
        square = (self.widths.x_bits, self.widths.x_bits)
        formats = self.flow.engine.formats
        counted = self.y_bits + formats.head_m - formats.head_frac_bits
        normalised = partial_products(self._normalised_operands, self.flow.engine.block_bits, counted)
        return self._cut([square, self._scaled_operands]) + self.widths.row_products + normalised

    def _cut(self, operands: list[Product]) -> list[Product]:
        """Return the blocks that these multiplications are made of."""
        block = self.flow.engine.block_bits
        return [part for product in operands for part in partial_products(product, block)]
