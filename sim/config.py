"""The shape of a Bi-ViT and its number formats, shared by the model, the reference and the hardware."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from .errors import BivitError, check


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
        check(8 <= self.residual_bits <= 24, f"residual_bits must be 8 to 24, got {self.residual_bits}")
        check(
            0 <= self.residual_frac_bits < self.residual_bits,
            f"residual_frac_bits must be 0 to residual_bits - 1, got {self.residual_frac_bits}",
        )
        check(0 <= self.norm_shift <= 8, f"norm_shift must be 0 to 8, got {self.norm_shift}")
        check(
            self.head_m > self.head_frac_bits,
            f"head_m must exceed head_frac_bits {self.head_frac_bits}, got {self.head_m}",
        )

    @property
    def norm_bits(self) -> int:
        """Width of x = X >> norm_shift, the input of SignNorm."""
        return self.residual_bits - self.norm_shift


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Shape and modes of a DeiT-style Bi-ViT; names as in timm.

    Raises
    ------
    BivitError
        When sizes do not divide, naming what is allowed.
    """

    img_size: int
    patch_size: int
    in_chans: int = 3
    num_classes: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4.0
    class_token: bool = True
    dist_token: bool = False
    pool: Literal["token", "mean"] = "token"
    norm_mode: Literal["layernorm", "mean"] = "layernorm"
    qk_mode: Literal["layernorm", "threshold"] = "layernorm"
    attn_mode: Literal["softmax", "score"] = "softmax"
    eps: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads"):
            value = getattr(self, name)
            check(isinstance(value, int) and value > 0, f"{name} must be a positive integer, got {value!r}")
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            check(value in allowed, f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        check(
            self.img_size % self.patch_size == 0,
            f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}; choose sizes that divide",
        )
        check(
            self.embed_dim % self.num_heads == 0,
            f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}; choose sizes that divide",
        )
        check(
            self.head_dim % 8 == 0 and self.head_dim <= 64,
            f"embed_dim / num_heads must be a multiple of 8 up to 64, got {self.head_dim}",
        )
        check(
            self.hidden_dim % 8 == 0,
            f"embed_dim * mlp_ratio must be a multiple of 8, got {self.embed_dim * self.mlp_ratio}",
        )
        check(
            self.pool != "token" or self.class_token,
            "pool 'token' needs class_token; set class_token = true or pool = 'mean'",
        )
        check(
            not self.dist_token or (self.class_token and self.pool == "token"),
            "dist_token needs class_token and pool 'token'",
        )

    @property
    def head_dim(self) -> int:
        """Channels of one head, E."""
        return self.embed_dim // self.num_heads

    @property
    def hidden_dim(self) -> int:
        """Channels of the MLP's hidden layer, M."""
        return int(self.embed_dim * self.mlp_ratio)

    @property
    def grid_size(self) -> int:
        """Patches along one side of the image."""
        return self.img_size // self.patch_size

    @property
    def num_prefix_tokens(self) -> int:
        """Class and distillation tokens, which come before the patches."""
        return int(self.class_token) + int(self.dist_token)

    @property
    def num_tokens(self) -> int:
        """All tokens, N."""
        return self.num_prefix_tokens + self.grid_size**2

    @property
    def patch_dim(self) -> int:
        """Pixels of one patch, all channels."""
        return self.patch_size**2 * self.in_chans

    @property
    def head_rows(self) -> int:
        """Rows that the classifier reads, T: 1, or 2 with a distillation token."""
        return 2 if self.dist_token else 1

    @property
    def pool_shift(self) -> int:
        """Shift after the sum over tokens: ceil(log2 N)."""
        return (self.num_tokens - 1).bit_length()

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON; `config_from_dict` is the inverse."""
        return asdict(self)


_CHOICES = {
    "pool": ("token", "mean"),
    "norm_mode": ("layernorm", "mean"),
    "qk_mode": ("layernorm", "threshold"),
    "attn_mode": ("softmax", "score"),
}


def dataclass_from_dict(cls: type, values: dict[str, Any], what: str) -> Any:
    """Build a configuration dataclass from untrusted JSON, naming missing and unknown keys.

    Raises
    ------
    BivitError
        When a key is unknown or a required one is missing.
    """
    known = {f.name: f for f in fields(cls)}
    unknown = sorted(set(values) - set(known))
    check(not unknown, f"{what} has unknown keys {', '.join(unknown)}; allowed are {', '.join(known)}")
    try:
        return cls(**values)
    except TypeError as error:
        raise BivitError(f"{what} is incomplete: {error}; its keys are {', '.join(known)}") from error


#: Named shapes. `digits` is the demo; the others are the paper's DeiT family (arXiv 2305.12354).
PRESETS: dict[str, ViTConfig] = {
    "digits": ViTConfig(
        img_size=8,
        patch_size=2,
        in_chans=1,
        num_classes=10,
        embed_dim=128,
        depth=2,
        num_heads=2,
        mlp_ratio=4.0,
        class_token=False,
        pool="mean",
    ),
    "deit_tiny": ViTConfig(
        img_size=224,
        patch_size=16,
        num_classes=1000,
        embed_dim=192,
        depth=12,
        num_heads=3,
        dist_token=True,
    ),
    "deit_small": ViTConfig(
        img_size=224,
        patch_size=16,
        num_classes=1000,
        embed_dim=384,
        depth=12,
        num_heads=6,
        dist_token=True,
    ),
    "deit_base": ViTConfig(
        img_size=224,
        patch_size=16,
        num_classes=1000,
        embed_dim=768,
        depth=12,
        num_heads=12,
        dist_token=True,
    ),
}


def preset(name: str) -> ViTConfig:
    """Return the preset called `name`; `BivitError` lists the names otherwise."""
    check(name in PRESETS, f"there is no preset {name!r}; allowed are {', '.join(PRESETS)}")
    return PRESETS[name]
