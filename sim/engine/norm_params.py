"""Widths and stages of the norm units, from an engine's largest model: for `hw.units.norm` and `sim.engine.timing`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .commands import HeadNorm, SignNorm
from .config import EngineConfig
from .pipeline import MULTIPLY_CYCLES, isqrt_cycles, tree_cycles
from .words import WORD

NormKind = Literal["sign_norm", "head_norm"]


@dataclass(frozen=True, kw_only=True)
class NormParams:
    """Ranges of one norm unit (docs/semantics.md 2 and 6) and what follows: widths in bits, stages in cycles.

    A stage counts from the cycle in which a chunk's address is given; that is stage 0.

    Parameters
    ----------
    kind : {"sign_norm", "head_norm"}
    lanes : int
        Channels a cycle.
    word_bits : int
        Width of one lane in the memory of x.
    shift : int
        Right shift that makes x of that lane, for SignNorm.
    value_min, value_max : int
        Range of the lane after the shift.
    scale_bits : int
        Unsigned width of Scale; 0 for SignNorm, which has none.
    max_channels : int
        Channels normalised together, at most.
    theta_bits, theta_frac_bits, mean_shift : int
        As in `Formats`.
    """

    kind: NormKind
    lanes: int
    word_bits: int
    shift: int
    value_min: int
    value_max: int
    scale_bits: int
    max_channels: int
    theta_bits: int
    theta_frac_bits: int
    mean_shift: int

    @property
    def command(self) -> type[SignNorm | HeadNorm]:
        """What a unit of this kind is told."""
        return SignNorm if self.kind == "sign_norm" else HeadNorm

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
        eps_max = (1 << self.command.layout()["eps"].width) - 1
        return (half * other_half * (self.x_max - self.x_min) ** 2 + eps_max).bit_length()

    @property
    def mean_r(self) -> int:
        """The constant R of mode `mean`."""
        return 1 << (self.theta_frac_bits + self.mean_shift)

    @property
    def r_bits(self) -> int:
        """Unsigned width of R, of either mode."""
        return max(isqrt_cycles(self.v_bits), self.mean_r.bit_length())

    @property
    def x_stage(self) -> int:
        """Stage of x: the memory's word is registered, then multiplied by Scale."""
        return 2 + (MULTIPLY_CYCLES if self.scale_bits else 0)

    @property
    def sums_stage(self) -> int:
        """Stage of a row's S1 and S2, after its last chunk."""
        return self.x_stage + MULTIPLY_CYCLES + tree_cycles(self.lanes) + 1

    @property
    def root_stage(self) -> int:
        """Stage of V, the input of the square root: two products, their difference, Eps."""
        return self.sums_stage + MULTIPLY_CYCLES + 2

    @property
    def stats_write_stage(self) -> int:
        """Stage of the write of S1 and R, after a row's last chunk."""
        return self.root_stage + isqrt_cycles(self.v_bits)

    @property
    def stats_read_stage(self) -> int:
        """Stage of the read of S1 and R."""
        return self.x_stage

    @property
    def compare_stage(self) -> int:
        """Stage of both sides of the comparison: a product of N or R, and S1 subtracted."""
        return self.x_stage + MULTIPLY_CYCLES + 1

    @property
    def bits_stage(self) -> int:
        """Stage of a chunk's bits."""
        return self.compare_stage + 1


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's complement that holds low <= 0 to high >= 0.

    >>> signed_bits(-128, 127), signed_bits(-128, 128)
    (8, 9)
    """
    return max((~low).bit_length(), high.bit_length()) + 1


def norm_params(engine: EngineConfig, kind: NormKind) -> NormParams:
    """Parameters of one of the two norm units of `engine`."""
    f = engine.formats
    sign = kind == "sign_norm"
    # The array delivers half a dot product over the embedding dimension for q and k.
    half = 1 << (f.norm_bits - 1) if sign else engine.max_embed_dim // 2
    return NormParams(
        kind=kind,
        lanes=engine.lanes,
        word_bits=f.residual_bits if sign else engine.acc_bits,
        shift=f.norm_shift if sign else 0,
        value_min=-half,
        value_max=half - 1 if sign else half,
        scale_bits=0 if sign else f.qk_scale_bits,
        max_channels=engine.max_embed_dim if sign else min(WORD, engine.max_embed_dim),
        theta_bits=f.theta_bits,
        theta_frac_bits=f.theta_frac_bits,
        mean_shift=f.mean_shift,
    )
