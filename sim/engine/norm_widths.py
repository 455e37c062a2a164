"""Widths of the norms, SignNorm and HeadNorm (docs/semantics.md 2 and 6): what is normalised, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..network.formats import EPS_BITS
from .config import EngineConfig
from .pipeline import SUM_BITS, Product, fits, isqrt_cycles, multiply_cycles, partial_products
from .words import WORD

#: Signed width of a single bit.
_ONE_BIT = 2


@dataclass(frozen=True)
class NormWidths:
    """What both norms share.

    Parameters
    ----------
    engine : EngineConfig
    """

    engine: EngineConfig

    @property
    def word_bits(self) -> int:
        """Width of one lane in the memory of x."""
        raise NotImplementedError

    @property
    def shift(self) -> int:
        """Right shift that makes x of that lane."""
        return 0

    @property
    def value_min(self) -> int:
        """Lowest value of the lane after the shift."""
        raise NotImplementedError

    @property
    def value_max(self) -> int:
        """Highest value of the lane after the shift."""
        raise NotImplementedError

    @property
    def scale_bits(self) -> int:
        """Unsigned width of Scale; 0 where there is none."""
        return 0

    @property
    def max_channels(self) -> int:
        """Channels normalised together, at most."""
        return self.engine.max_embed_dim

    @property
    def theta_bits(self) -> int:
        """Signed width of Theta."""
        return self.engine.formats.theta_bits

    @property
    def theta_frac_bits(self) -> int:
        """Fraction bits of Theta."""
        return self.engine.formats.theta_frac_bits

    @property
    def eps_bits(self) -> int:
        """Unsigned width of Eps."""
        return EPS_BITS

    # Widths.

    @property
    def x_min(self) -> int:
        """Lowest x; an accumulator is twice the value that the array delivers."""
        return self.value_min * self._largest_factor

    @property
    def x_max(self) -> int:
        """Highest x."""
        return self.value_max * self._largest_factor

    @property
    def _largest_factor(self) -> int:
        return 2 * ((1 << self.scale_bits) - 1) if self.scale_bits else 1

    @property
    def value_bits(self) -> int:
        """Signed width of the lane after the shift."""
        return signed_bits(self.value_min, self.value_max)

    @property
    def x_bits(self) -> int:
        """Signed width of x."""
        return signed_bits(self.x_min, self.x_max)

    @property
    def channels_bits(self) -> int:
        """Unsigned width of the number of channels."""
        return self.max_channels.bit_length()

    @property
    def s1_bits(self) -> int:
        """Signed width of S1."""
        return signed_bits(self.max_channels * self.x_min, self.max_channels * self.x_max)

    @property
    def s2_bits(self) -> int:
        """Unsigned width of S2."""
        return (self.max_channels * max(self.x_min**2, self.x_max**2)).bit_length()

    @property
    def v_bits(self) -> int:
        """Unsigned width of V: N*S2 - S1^2 sums (x[i] - x[j])^2 over pairs, most with half of x at each end."""
        half, other_half = self.max_channels // 2, (self.max_channels + 1) // 2
        eps_max = (1 << self.eps_bits) - 1
        return (half * other_half * (self.x_max - self.x_min) ** 2 + eps_max).bit_length()

    @property
    def mean_r(self) -> int:
        """The constant R of mode `mean`."""
        return 1 << (self.theta_frac_bits + self.engine.formats.mean_shift)

    @property
    def r_bits(self) -> int:
        """Unsigned width of R, of either mode."""
        return max(isqrt_cycles(self.v_bits), self.mean_r.bit_length())

    @cached_property
    def multiply_cycles(self) -> int:
        """Latency of every product, that of the widest."""
        operands = self.lane_operands + self.row_operands
        return max(multiply_cycles(product, self.engine.block_bits) for product in operands)

    @property
    def root_cycles(self) -> int:
        """From a row's sums to its R: two products, their difference, Eps, the root."""
        return self.multiply_cycles + 2 + isqrt_cycles(self.v_bits)

    # Multiplications.

    @property
    def lane_operands(self) -> list[Product]:
        """Square or N*x, Theta*R, Scale."""
        lane = [(self.x_bits, max(self.x_bits, self.channels_bits + 1)), (self.r_bits + 1, self.theta_bits)]
        return lane + ([(self.value_bits, self.scale_bits + 1)] if self.scale_bits else [])

    @property
    def compared(self) -> tuple[Product, Product]:
        """Operands of the comparison: x and N, R and Theta."""
        return (self.x_bits, self.channels_bits + 1), (self.r_bits + 1, self.theta_bits)

    @property
    def compare_bits(self) -> int:
        """Signed width of both sides of the comparison, and of their difference."""
        return max(self.s1_bits + 1 + self.theta_frac_bits, sum(self.compared[1])) + 1

    @property
    def fused(self) -> bool:
        """Whether both products of the comparison fit a multiplier block, whose adder then subtracts and compares."""
        alone = self.multiply_cycles == multiply_cycles((1, 1), (1, 1))
        block = self.engine.block_bits
        return alone and self.compare_bits <= SUM_BITS and all(fits(product, block) for product in self.compared)

    @property
    def row_operands(self) -> list[Product]:
        """N*S2 and the square of S1."""
        return [(self.s2_bits + 1, self.channels_bits + 1), (self.s1_bits, self.s1_bits)]

    @property
    def row_products(self) -> list[Product]:
        """Partial products of these; S2 has no sign, so a highest limb of one bit and a sign is no multiplication."""
        counted, square = (partial_products(product, self.engine.block_bits) for product in self.row_operands)
        return [product for product in counted if product[0] > _ONE_BIT] + square


@dataclass(frozen=True)
class SignNormWidths(NormWidths):
    """SignNorm: the residual, shifted right by `norm_shift`.

    Parameters
    ----------
    engine : EngineConfig
    channels : int
        Channels that are normalised together, where these are more than `max_embed_dim`.
    """

    channels: int = 0

    @property
    def max_channels(self) -> int:
        """Channels normalised together, at most."""
        return max(self.engine.max_embed_dim, self.channels)

    @property
    def word_bits(self) -> int:
        """Width of one lane of the residual."""
        return self.engine.formats.residual_bits

    @property
    def shift(self) -> int:
        """From the residual's grid to that of x."""
        return self.engine.formats.norm_shift

    @property
    def value_min(self) -> int:
        """Lowest x."""
        return -(1 << (self.engine.formats.norm_bits - 1))

    @property
    def value_max(self) -> int:
        """Highest x."""
        return -self.value_min - 1


class HeadNormWidths(NormWidths):
    """HeadNorm: sums of one head, half of an accumulator each, times Scale."""

    @property
    def word_bits(self) -> int:
        """Width of a sum."""
        return self.engine.acc_bits

    @property
    def value_min(self) -> int:
        """Lowest sum; the array delivers half a dot product over the embedding dimension."""
        return -self.value_max

    @property
    def value_max(self) -> int:
        """Highest sum."""
        return self.engine.max_embed_dim // 2

    @property
    def scale_bits(self) -> int:
        """Unsigned width of Scale."""
        return self.engine.formats.qk_scale_bits

    @property
    def max_channels(self) -> int:
        """Channels of a head."""
        return min(WORD, self.engine.max_embed_dim)


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's complement that holds low <= 0 to high >= 0.

    >>> signed_bits(-128, 127), signed_bits(-128, 128)
    (8, 9)
    """
    return max((~low).bit_length(), high.bit_length()) + 1
