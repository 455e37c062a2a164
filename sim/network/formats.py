"""Number formats of the integer network: widths and binary points (docs/semantics.md, Vocabulary)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..errors import check

#: Widths of parameters that are the same in every network.
PATCH_BIAS_BITS = 48
PATCH_SCALE_BITS = 16
EXP_BITS = 16
DENSE_WEIGHT_BITS = 8
HEAD_BIAS_BITS = 32
EPS_BITS = 48
#: Widest format, in bits, and largest shift.
_WIDEST = 64


@dataclass(frozen=True, kw_only=True)
class Formats:
    """Widths and binary points of the integer network (docs/semantics.md, Vocabulary)."""

    residual_bits: int = 20
    residual_frac_bits: int = 12
    norm_shift: int = 2
    theta_bits: int = 16
    theta_frac_bits: int = 8
    mean_shift: int = 8
    qk_scale_bits: int = 8
    scale_bits: int = 16
    head_m: int = 36
    head_frac_bits: int = 8

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            check(not isinstance(value, int) or value <= _WIDEST, f"{name} must be at most {_WIDEST}, got {value}")
        check(8 <= self.residual_bits <= 24, f"residual_bits must be 8 to 24, got {self.residual_bits}")
        check(
            0 <= self.residual_frac_bits < self.residual_bits,
            f"residual_frac_bits must be 0 to residual_bits - 1, got {self.residual_frac_bits}",
        )
        check(0 <= self.norm_shift <= 8, f"norm_shift must be 0 to 8, got {self.norm_shift}")
        check(
            self.head_m > max(self.head_frac_bits, self.residual_frac_bits),
            f"head_m must exceed head_frac_bits {self.head_frac_bits} and residual_frac_bits "
            f"{self.residual_frac_bits}, got {self.head_m}",
        )

    @property
    def norm_bits(self) -> int:
        """Width of x = X >> norm_shift, the input of SignNorm."""
        return self.residual_bits - self.norm_shift
