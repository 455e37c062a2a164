"""The norm of patches in networks with windows (docs/semantics.md 1, *Swin*): widths, stages, memories, times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isqrt

from ..engine.norm_widths import SignNormWidths
from ..engine.pipeline import Product, divide_cycles, multiply_cycles, partial_products, tree_cycles
from ..engine.words import LoadMemory, Memory, ceil_div
from ..errors import check
from ..network.formats import EPS_BITS
from .lane_unit import LaneUnit
from .residual_add import ResidualAddUnit
from .windows import WindowLimits

#: Dividers, at most.
_MOST_DIVIDERS = 8


@dataclass(frozen=True)
class PatchNormWidths(SignNormWidths):
    """Widths of the norm of patches: those of an image's first stage, which is narrower than others.

    Parameters
    ----------
    engine : EngineConfig
    channels : int
        Of a patch, at most.
    """

    channels: int

    @property
    def max_channels(self) -> int:
        """Channels normalised together, at most."""
        return self.channels


@dataclass(frozen=True)
class PatchNormUnit(LaneUnit):
    """Tokens of an embedded image are read one after the other, summed, and written again when they are normalised.

    Words of x wait in a ring until S1 and Q of their token are there, so that each is read once. A token follows the
    one before by `pace`; its Q comes from the dividers in turn.

    Parameters
    ----------
    flow : FlowConfig
        With windows.

    Raises
    ------
    BivitError
        When the residual stream has no fraction bits.
    """

    name = "patch_norm"

    def __post_init__(self) -> None:
        check(
            self.flow.engine.formats.residual_frac_bits >= 1,
            "an engine with windows needs residual_frac_bits of 1 or more, got 0",
        )

    @property
    def lanes(self) -> int:
        """Elements that it takes a cycle: those of a word of x."""
        return self.source.row_lanes

    @property
    def source(self) -> ResidualAddUnit:
        """Whose x it is."""
        return ResidualAddUnit(self.flow)

    @property
    def limits(self) -> WindowLimits:
        """Of the engine."""
        assert self.flow.windows is not None
        return self.flow.windows

    # Shapes.

    @property
    def most_words(self) -> int:
        """Words of a token of the first stage, whose x is the largest of all."""
        return max(1, self.limits.x_words // self.limits.image_tokens)

    @property
    def most_channels(self) -> int:
        """Channels of a token of the first stage."""
        return min(self.flow.engine.max_embed_dim, self.most_words * self.lanes)

    @property
    def dividers(self) -> int:
        """Dividers: so many that a token takes no longer than its chunks, which are embedded one a cycle."""
        chunks = self.columns // min(self.flow.engine.lanes, self.columns)
        return min(_MOST_DIVIDERS, ceil_div(self.divide_cycles, self.most_words * chunks))

    def pace(self, words: int) -> int:
        """Return the cycles from a token to the next.

        Parameters
        ----------
        words : int
            Of a token.
        """
        return max(words, ceil_div(self.divide_cycles, self.dividers))

    # Widths.

    @property
    def widths(self) -> PatchNormWidths:
        """Widths of the sums and the root."""
        return PatchNormWidths(self.flow.engine, self.most_channels)

    @property
    def q_bits(self) -> int:
        """Unsigned width of Q = 2^head_m / R."""
        return self.flow.engine.formats.head_m + 1

    @property
    def drop_bits(self) -> int:
        """Bits below y in the product with Q."""
        return self.flow.engine.formats.head_m - self.flow.engine.formats.residual_frac_bits

    @property
    def y_bits(self) -> int:
        """Signed width of y, within sqrt(2 * (D - 1)) * 2^F as in `hw.edge.last_norm`, and one below by the floor."""
        frac_bits = self.flow.engine.formats.residual_frac_bits
        return (isqrt(2 * (self.most_channels - 1) << 2 * frac_bits) + 1).bit_length() + 1

    @property
    def affine(self) -> Product:
        """Operands of the product with G, the wider one first."""
        one, other = self.y_bits, self.flow.engine.formats.scale_bits
        return max(one, other), min(one, other)

    @property
    def _scaled(self) -> Product:
        return self.widths.x_bits, self.widths.channels_bits + 1

    @property
    def _normalised(self) -> Product:
        return self.widths.s1_bits + 1, self.q_bits + 1

    # Stages, from an address of x on.

    @property
    def word_stage(self) -> int:
        """Stage of a word of x, which goes into the ring."""
        return self.source.x_cycles

    @property
    def sums_stage(self) -> int:
        """Stage of S1 and S2 behind a token's last word: x is registered, squared, added up, and added to the sums."""
        return self.word_stage + 1 + self.widths.multiply_cycles + tree_cycles(self.lanes) + 1

    @property
    def divide_cycles(self) -> int:
        """From R to Q."""
        return divide_cycles(self.flow.engine.formats.head_m)

    @property
    def apply_stage(self) -> int:
        """From a token's last address of x to its first one in the ring."""
        return self.sums_stage + self.widths.root_cycles + self.divide_cycles + 1

    # Stages, from an address in the ring on.

    @property
    def scaled_cycles(self) -> int:
        """Latency of D*x."""
        return self._cycles(self._scaled)

    @property
    def normalised_cycles(self) -> int:
        """Latency of the product with Q."""
        return self._cycles(self._normalised)

    @property
    def affine_cycles(self) -> int:
        """Latency of the product with G."""
        return self._cycles(self.affine)

    @property
    def centred_stage(self) -> int:
        """Stage of D*x - S1: the word, the product, the difference."""
        return 1 + self.scaled_cycles + 1

    @property
    def y_stage(self) -> int:
        """Stage of y."""
        return self.centred_stage + self.normalised_cycles

    @property
    def write_stage(self) -> int:
        """Stage of the write of x: the product with G, the sum with B', the limits."""
        return self.y_stage + self.affine_cycles + 2

    def _cycles(self, operands: Product) -> int:
        return multiply_cycles(operands, self.flow.engine.block_bits)

    # Times.

    def image_cycles(self, tokens: int, words: int) -> int:
        """Return the cycles from an image's first address to that of the next image, if it waits.

        Parameters
        ----------
        tokens : int
        words : int
            Of a token.
        """
        return tokens * self.pace(words)

    def norm_cycles(self, tokens: int, words: int) -> int:
        """Return the cycles from an image's first address to its last write.

        Parameters
        ----------
        tokens, words : int
            As of `image_cycles`.
        """
        return (tokens - 1) * self.pace(words) + 2 * (words - 1) + self.apply_stage + self.write_stage

    # Views.

    @cached_property
    def ring_words(self) -> int:
        """Words of x that wait at a time, at most: those that come from one's write to its read, both included.

        Of so many cycles each whole `pace` brings a token, and the rest no more than one.
        """
        found = 1
        for words in range(1, self.most_words + 1):
            turns, rest = divmod(words - 1 + self.apply_stage - self.word_stage + 1, self.pace(words))
            found = max(found, turns * words + min(rest, words))
        return found

    @property
    def memories(self) -> Mapping[str, Memory]:
        """The ring of words."""
        return {"patch_words": Memory(self.lanes * self.widths.x_bits, self.ring_words)}

    @property
    def load_memories(self) -> Mapping[str, LoadMemory]:
        """G and B' a channel of a word of a token; one Eps."""
        formats = self.flow.engine.formats
        width = self.lanes * (formats.scale_bits + formats.residual_bits)
        return {
            "patch_norm": self._loadable("patch_norm", width, self.most_words),
            "patch_eps": self._loadable("patch_eps", EPS_BITS, 1),
        }

    def products(self) -> list[Product]:
        """Square, D*x, the product with Q and that with G of each lane, and those of a token's sums."""
        square = (self.widths.x_bits, self.widths.x_bits)
        counted = self.y_bits + self.drop_bits
        normalised = partial_products(self._normalised, self.flow.engine.block_bits, counted)
        lane = self._cut([square, self._scaled, self.affine]) + normalised
        return lane * self.lanes + self.widths.row_products
