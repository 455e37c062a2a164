"""The shape of a Bi-ViT, shared by the model, the reference and the hardware."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from ..errors import check
from ..system.typed import build, shown
from .blocks import BlockShape, MergeShape, Stage

#: Largest sizes, far above any published model: what is built is bounded by them, wherever a config comes from.
LARGEST = {"img_size": 1 << 16, "patch_size": 1 << 10, "in_chans": 1 << 10, "num_classes": 1 << 20, "depth": 1 << 10}
#: Most patches along a side, and along the side of a window: the tables of indices grow with their fourth power.
LARGEST_GRID, LARGEST_WINDOW = 256, 64
#: Most pixels of a patch, all channels.
LARGEST_PATCH_DIM = 1 << 18


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What the two families share; names as in timm. Use `ViTConfig` or `SwinConfig`.

    Raises
    ------
    BivitError
        When sizes do not divide, naming what is allowed.
    """

    family: ClassVar[str]
    eps: float

    img_size: int
    patch_size: int
    in_chans: int = 3
    num_classes: int
    embed_dim: int
    mlp_ratio: float = 4.0
    norm_mode: Literal["layernorm", "mean"] = "layernorm"
    qk_mode: Literal["layernorm", "threshold"] = "layernorm"
    attn_mode: Literal["softmax", "score"] = "softmax"

    def __post_init__(self) -> None:
        for name in ("img_size", "patch_size", "in_chans", "num_classes", "embed_dim"):
            _check_positive(name, getattr(self, name), LARGEST.get(name))
        for name, most in (("mlp_ratio", 1 << 16), ("eps", 1)):
            value = getattr(self, name)
            check(isinstance(value, int | float) and value > 0, f"{name} must be a positive number, got {value!r}")
            check(value <= most, f"{name} must be at most {most}, got {value}")
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            check(value in allowed, f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        check(
            self.img_size % self.patch_size == 0,
            f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}; choose sizes that divide",
        )
        check(
            self.grid_size <= LARGEST_GRID,
            f"img_size / patch_size must be at most {LARGEST_GRID} patches, got {self.grid_size}",
        )
        check(
            self.patch_dim <= LARGEST_PATCH_DIM,
            f"a patch must have at most {LARGEST_PATCH_DIM:,} pixels, got {self.patch_dim:,}",
        )

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Stages in order; a DeiT has one."""
        raise NotImplementedError

    @cached_property
    def blocks(self) -> tuple[BlockShape, ...]:
        """Blocks of all stages, in order."""
        return tuple(block for stage in self.stages for block in stage.blocks)

    @property
    def grid_size(self) -> int:
        """Patches along one side of the image."""
        return self.img_size // self.patch_size

    @property
    def num_prefix_tokens(self) -> int:
        """Class and distillation tokens, which come before the patches."""
        return 0

    @property
    def num_tokens(self) -> int:
        """Tokens that enter the first block, N."""
        return self.num_prefix_tokens + self.grid_size**2

    @property
    def patch_dim(self) -> int:
        """Pixels of one patch, all channels."""
        return self.patch_size**2 * self.in_chans

    @property
    def num_features(self) -> int:
        """Channels of the last block."""
        return self.stages[-1].blocks[-1].embed_dim

    @property
    def mean_pool(self) -> bool:
        """Whether the classifier reads the mean over the tokens, not the prefix tokens."""
        return True

    @property
    def patch_norm(self) -> bool:
        """Whether the patch embedding is normalised before the first block (paragraph 1 of docs/semantics.md)."""
        return False

    @property
    def head_rows(self) -> int:
        """Rows that the classifier reads, T: 1, or 2 with a distillation token."""
        return 1

    @property
    def pool_shift(self) -> int:
        """Shift after the sum over the last block's tokens: ceil(log2 N)."""
        return (self.stages[-1].blocks[-1].tokens - 1).bit_length()

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON; `config_from_dict` is the inverse."""
        return {"family": self.family} | asdict(self)

    def _check_block(self, embed_dim: int, num_heads: int) -> None:
        check(
            embed_dim % num_heads == 0,
            f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}; choose sizes that divide",
        )
        head_dim = embed_dim // num_heads
        check(
            head_dim % 8 == 0 and head_dim <= 64,
            f"embed_dim / num_heads must be a multiple of 8 up to 64, got {head_dim}",
        )
        check(
            int(embed_dim * self.mlp_ratio) % 8 == 0 and int(embed_dim * self.mlp_ratio) > 0,
            f"embed_dim * mlp_ratio must be a multiple of 8, got {embed_dim * self.mlp_ratio}",
        )
        check(
            max(embed_dim, int(embed_dim * self.mlp_ratio)) < 1 << 16,
            f"embed_dim and embed_dim * mlp_ratio must be below 65,536, as sums of products are counted in 16 bits; "
            f"got {embed_dim} and {int(embed_dim * self.mlp_ratio)}",
        )

    def _modes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("norm_mode", "qk_mode", "attn_mode")}


@dataclass(frozen=True, kw_only=True)
class ViTConfig(ModelConfig):
    """Shape and modes of a DeiT-style Bi-ViT.

    Raises
    ------
    BivitError
        When sizes do not divide, naming what is allowed.
    """

    family = "vit"

    depth: int
    num_heads: int
    class_token: bool = True
    dist_token: bool = False
    pool: Literal["token", "mean"] = "token"
    eps: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("depth", self.depth, LARGEST["depth"])
        _check_positive("num_heads", self.num_heads)
        self._check_block(self.embed_dim, self.num_heads)
        check(self.pool in ("token", "mean"), f"pool must be one of token, mean, got {self.pool!r}")
        check(
            self.pool != "token" or self.class_token,
            "pool 'token' needs class_token; set class_token = true or pool = 'mean'",
        )
        check(
            not self.dist_token or (self.class_token and self.pool == "token"),
            "dist_token needs class_token and pool 'token'",
        )

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """One stage without patch merging."""
        block = BlockShape(
            name="",
            grid=self.grid_size,
            prefix=self.num_prefix_tokens,
            embed_dim=self.embed_dim,
            num_heads=self.num_heads,
            hidden_dim=self.hidden_dim,
            eps=self.eps,
            **self._modes(),
        )
        return (Stage(merge=None, blocks=tuple(replace(block, name=f"blocks.{i}") for i in range(self.depth))),)

    @property
    def head_dim(self) -> int:
        """Channels of one head, E."""
        return self.embed_dim // self.num_heads

    @property
    def hidden_dim(self) -> int:
        """Channels of the MLP's hidden layer, M."""
        return int(self.embed_dim * self.mlp_ratio)

    @property
    def num_prefix_tokens(self) -> int:
        """Class and distillation tokens, which come before the patches."""
        return int(self.class_token) + int(self.dist_token)

    @property
    def mean_pool(self) -> bool:
        """Whether the classifier reads the mean over the tokens, not the prefix tokens."""
        return self.pool == "mean"

    @property
    def head_rows(self) -> int:
        """Rows that the classifier reads, T: 1, or 2 with a distillation token."""
        return 2 if self.dist_token else 1


@dataclass(frozen=True, kw_only=True)
class SwinConfig(ModelConfig):
    """Shape and modes of a Swin-style Bi-ViT (arXiv 2103.14030): shifted windows, patch merging, mean pooling.

    Odd blocks of a stage shift their windows by half a window. Where a stage's grid is no larger than a window, the
    window is the grid, and nothing is shifted.

    Raises
    ------
    BivitError
        When sizes do not divide, naming what is allowed.
    """

    family = "swin"

    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int
    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        # JSON has lists only.
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "num_heads", tuple(self.num_heads))
        check(
            len(self.depths) == len(self.num_heads) > 0,
            f"depths and num_heads need one entry a stage, got {list(self.depths)} and {list(self.num_heads)}",
        )
        for name in ("depths", "num_heads"):
            for value in getattr(self, name):
                _check_positive(f"each of {name}", value)
        _check_positive("window_size", self.window_size)
        for index, heads in enumerate(self.num_heads):
            self._check_block(self.embed_dim << index, heads)
        _check_positive("depth (sum of depths)", sum(self.depths), LARGEST["depth"])
        self._check_grids()

    def _check_grids(self) -> None:
        for index in range(len(self.depths)):
            grid = self.grid_size >> index
            check(
                grid << index == self.grid_size,
                f"a grid of {self.grid_size} patches cannot be halved {len(self.depths) - 1} times; "
                f"img_size / patch_size must be a multiple of {1 << (len(self.depths) - 1)}",
            )
            check(
                grid <= self.window_size or grid % self.window_size == 0,
                f"stage {index} has {grid} patches a side, which windows of {self.window_size} do not divide; "
                "choose an img_size or window_size that divides",
            )
            check(
                min(grid, self.window_size) <= LARGEST_WINDOW,
                f"windows must be at most {LARGEST_WINDOW} patches a side, got {min(grid, self.window_size)}",
            )

    @property
    def patch_norm(self) -> bool:
        """True: Swin normalises its patches and has no position embedding."""
        return True

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Stages, each half as wide in patches and twice in channels as the one before."""
        return tuple(self._stage(index) for index in range(len(self.depths)))

    def _stage(self, index: int) -> Stage:
        grid, width = self.grid_size >> index, self.embed_dim << index
        name = f"layers.{index}"
        block = BlockShape(
            name="",
            grid=grid,
            prefix=0,
            embed_dim=width,
            num_heads=self.num_heads[index],
            hidden_dim=int(width * self.mlp_ratio),
            window=min(grid, self.window_size),
            eps=self.eps,
            **self._modes(),
        )
        shift = self.window_size // 2 if grid > self.window_size else 0
        merge = MergeShape(
            name=f"{name}.downsample", grid=2 * grid, embed_dim=width // 2, norm_mode=self.norm_mode, eps=self.eps
        )
        blocks = (replace(block, name=f"{name}.blocks.{i}", shift=shift * (i % 2)) for i in range(self.depths[index]))
        return Stage(merge=merge if index else None, blocks=tuple(blocks))


def vit_only(config: ModelConfig) -> ViTConfig:
    """Return a DeiT's config; refuse others, for what is made for DeiTs only.

    Raises
    ------
    BivitError
        When the config is of another family.
    """
    check(
        isinstance(config, ViTConfig),
        f"this takes networks of the family vit, got {config.family}, which engines with windows run: `bivit engines` "
        "lists them, for `bivit estimate`, `cosim` and `generate`",
    )
    assert isinstance(config, ViTConfig)
    return config


_CHOICES = {
    "norm_mode": ("layernorm", "mean"),
    "qk_mode": ("layernorm", "threshold"),
    "attn_mode": ("softmax", "score"),
}

_FAMILIES: dict[str, type[ModelConfig]] = {"vit": ViTConfig, "swin": SwinConfig}


def _check_positive(name: str, value: object, most: int | None = None) -> None:
    check(isinstance(value, int) and value > 0, f"{name} must be a positive integer, got {value!r}")
    check(most is None or (isinstance(value, int) and value <= most), f"{name} must be 1 to {most}, got {value}")


def config_from_dict(values: Any, what: str) -> ModelConfig:
    """Build a config from untrusted JSON (`ModelConfig.to_dict`); without a `family` it is a `ViTConfig`.

    Raises
    ------
    BivitError
        When the family is unknown, a key is unknown or missing, a value has another type, or sizes do not fit.
    """
    check(isinstance(values, dict), f"{what} must be a table of names and values, got {shown(values)}")
    family = values.get("family", "vit")
    known = isinstance(family, str) and family in _FAMILIES
    check(known, f"family in {what} must be one of {', '.join(_FAMILIES)}, got {shown(family)}")
    return build(_FAMILIES[family], {name: value for name, value in values.items() if name != "family"}, what)
