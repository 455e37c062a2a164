"""The tensors of an integer network: keys, shapes, dtypes and value ranges (docs/network.md, Tensors)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from .bits import padding_is_zero, word_count
from .config import Formats, ViTConfig
from .errors import check
from .fixed import ISQRT_LIMIT, signed_range


@dataclass(frozen=True)
class TensorSpec:
    """What one tensor must be.

    `low` and `high` are the lowest and highest allowed element; `packed_bits` is the bits of a row of packed weights,
    0 for numbers.
    """

    dtype: type
    shape: tuple[int, ...]
    low: int = 0
    high: int = 0
    packed_bits: int = 0


def _packed(rows: int, length: int) -> TensorSpec:
    return TensorSpec(np.uint64, (rows, word_count(length)), packed_bits=length)


def _norm_eps_limit(channels: int, magnitude: int) -> int:
    """Largest Eps for which ``V = channels * S2 - S1^2 + Eps`` stays below the square root's limit."""
    return ISQRT_LIMIT - 1 - (channels * magnitude) ** 2


def _residual_norm_eps(config: ViTConfig, formats: Formats) -> TensorSpec:
    limit = _norm_eps_limit(config.embed_dim, 1 << (formats.norm_bits - 1))
    return TensorSpec(np.int64, (1,), 1, limit)


def _sign_norm_specs(name: str, config: ViTConfig, formats: Formats) -> Iterator[tuple[str, TensorSpec]]:
    yield f"{name}.theta", TensorSpec(np.int32, (config.embed_dim,), *signed_range(formats.theta_bits))
    if config.norm_mode == "layernorm":
        yield f"{name}.eps", _residual_norm_eps(config, formats)


def _head_norm_specs(name: str, config: ViTConfig, formats: Formats) -> Iterator[tuple[str, TensorSpec]]:
    shape = (config.num_heads, config.head_dim)
    if config.qk_mode == "threshold":
        yield f"{name}.theta", TensorSpec(np.int32, shape, -config.embed_dim, config.embed_dim + 2)
        return
    largest_scale = (1 << formats.qk_scale_bits) - 1
    limit = _norm_eps_limit(config.head_dim, largest_scale * config.embed_dim)
    yield f"{name}.theta", TensorSpec(np.int32, shape, *signed_range(formats.theta_bits))
    yield f"{name}.scale", TensorSpec(np.int32, shape, 1, largest_scale)
    yield f"{name}.eps", TensorSpec(np.int64, (config.num_heads,), 1, limit)


def _attn_sign_specs(name: str, config: ViTConfig) -> Iterator[tuple[str, TensorSpec]]:
    heads, head_dim = config.num_heads, config.head_dim
    if config.attn_mode == "score":
        yield f"{name}.theta", TensorSpec(np.int32, (heads,), 0, head_dim + 1)
        return
    yield f"{name}.exp", TensorSpec(np.int32, (heads, head_dim + 1), 0, 1 << 15)
    yield f"{name}.tau", TensorSpec(np.int32, (heads,), 0, 1 << 16)


def _product_specs(name: str, inputs: int, config: ViTConfig, formats: Formats) -> Iterator[tuple[str, TensorSpec]]:
    yield f"{name}.weight", _packed(config.embed_dim, inputs)
    yield f"{name}.scale", TensorSpec(np.int32, (config.embed_dim,), *signed_range(formats.scale_bits))
    yield f"{name}.bias", TensorSpec(np.int32, (config.embed_dim,), *signed_range(formats.residual_bits))


def _block_specs(block: str, config: ViTConfig, formats: Formats) -> Iterator[tuple[str, TensorSpec]]:
    width, hidden = config.embed_dim, config.hidden_dim
    yield from _sign_norm_specs(f"{block}.norm1", config, formats)
    yield f"{block}.attn.qkv.weight", _packed(3 * width, width)
    yield from _head_norm_specs(f"{block}.attn.q_norm", config, formats)
    yield from _head_norm_specs(f"{block}.attn.k_norm", config, formats)
    yield f"{block}.attn.v_sign.theta", TensorSpec(np.int32, (width,), -width, width + 2)
    yield from _attn_sign_specs(f"{block}.attn.attn_sign", config)
    yield from _product_specs(f"{block}.attn.proj", width, config, formats)
    yield from _sign_norm_specs(f"{block}.norm2", config, formats)
    yield f"{block}.mlp.fc1.weight", _packed(hidden, width)
    yield f"{block}.mlp.act.theta", TensorSpec(np.int32, (hidden,), -width, width + 2)
    yield from _product_specs(f"{block}.mlp.fc2", hidden, config, formats)


def tensor_specs(config: ViTConfig, formats: Formats) -> dict[str, TensorSpec]:
    """Every tensor of a network of this shape, in hardware order.

    Parameters
    ----------
    config : ViTConfig
    formats : Formats

    Returns
    -------
    dict[str, TensorSpec]

    Raises
    ------
    BivitError
        When the formats are too wide for this shape.
    """
    check_formats(config, formats)
    width = config.embed_dim
    specs = {
        "patch_embed.proj.weight": TensorSpec(np.int8, (width, config.patch_dim), -128, 127),
        "patch_embed.proj.scale": TensorSpec(np.int32, (width,), 1, (1 << 15) - 1),
        "patch_embed.proj.bias": TensorSpec(np.int64, (width,), *signed_range(48)),
        "patch_embed.proj.shift": TensorSpec(np.int32, (1,), 1, 40),
        "pos_embed": TensorSpec(np.int32, (config.num_tokens, width), *signed_range(formats.residual_bits)),
    }
    for block in range(config.depth):
        specs.update(_block_specs(f"blocks.{block}", config, formats))
    specs["norm.eps"] = _residual_norm_eps(config, formats)
    specs["head.weight"] = TensorSpec(np.int8, (config.num_classes, config.head_rows * width), -128, 127)
    specs["head.bias"] = TensorSpec(np.int32, (config.num_classes,), *signed_range(31))
    return specs


def check_formats(config: ViTConfig, formats: Formats) -> None:
    """Check that no intermediate of a network of this shape can leave int64 (docs/semantics.md).

    Raises
    ------
    BivitError
        Naming the format that is too wide, what is allowed and what was got.
    """
    for name, value in asdict(formats).items():
        check(isinstance(value, int) and value >= 0, f"{name} must be an integer of 0 or more, got {value!r}")
    for name in ("theta_bits", "scale_bits", "qk_scale_bits"):
        value = getattr(formats, name)
        check(2 <= value <= 32, f"{name} must be 2 to 32, got {value}")
    for lower, what, bound in _bounds(config, formats):
        check(
            bound < ISQRT_LIMIT,
            f"with embed_dim {config.embed_dim}, {what} needs {bound.bit_length()} bits and at most "
            f"{ISQRT_LIMIT.bit_length() - 1} are allowed; lower {lower}",
        )


def _bounds(config: ViTConfig, formats: Formats) -> Iterator[tuple[str, str, int]]:
    """Each widest intermediate: the format to lower, what it is, and a bound of its magnitude."""
    width, frac = config.embed_dim, formats.theta_frac_bits
    for lower, what, channels, magnitude in (
        ("residual_bits - norm_shift", "SignNorm", width, 1 << (formats.norm_bits - 1)),
        ("qk_scale_bits", "HeadNorm", config.head_dim, width << formats.qk_scale_bits),
    ):
        # N_c * S2 is at most (N_c * max|x|)^2, and |N_c * x - S1| at most twice N_c * max|x|.
        yield lower, f"the variance of {what}", (channels * magnitude) ** 2
        yield "theta_frac_bits", f"the comparison of {what}", 2 * channels * magnitude << frac
    threshold = 1 << (formats.theta_bits - 1 + frac + formats.mean_shift)
    yield "mean_shift", "the threshold of SignNorm", threshold
    # R is at least |N_c * x - S1| / sqrt(N_c) - 1, and at least 1: the product with Q is within this bound.
    largest = 2 * (math.isqrt(width) + 1)
    yield "head_m", "the normalisation of the head", largest << formats.head_m
    yield "head_frac_bits", "a logit", (largest << formats.head_frac_bits) * config.head_rows * width * 128 + (1 << 31)


def check_tensors(tensors: Mapping[str, NDArray], config: ViTConfig, formats: Formats) -> None:
    """Check every tensor's key, dtype, shape and values.

    Raises
    ------
    BivitError
        Naming the tensor, what is allowed and what was got.
    """
    specs = tensor_specs(config, formats)
    check_names(tensors, specs)
    for name, spec in specs.items():
        _check_tensor(name, tensors[name], spec)
        if name.endswith(".attn_sign.exp"):
            _check_exp(name, tensors[name])


def check_names(names: Mapping[str, object], specs: Mapping[str, TensorSpec]) -> None:
    """Refuse missing and unexpected tensors by name."""
    missing = sorted(set(specs) - set(names))
    check(not missing, f"the network lacks the tensors {', '.join(missing)}; export it again")
    unexpected = sorted(set(names) - set(specs))
    check(not unexpected, f"the network has unexpected tensors {', '.join(unexpected)}; its config does not use them")


def _check_tensor(name: str, tensor: NDArray, spec: TensorSpec) -> None:
    check(tensor.dtype == spec.dtype, f"{name} must be {np.dtype(spec.dtype)}, got {tensor.dtype}")
    check(tensor.shape == spec.shape, f"{name} must have shape {list(spec.shape)}, got {list(tensor.shape)}")
    if spec.packed_bits:
        check(
            padding_is_zero(tensor, spec.packed_bits),
            f"{name} has ones in the padding beyond bit {spec.packed_bits - 1} of a row; padding bits must be 0",
        )
        return
    low, high = int(tensor.min()), int(tensor.max())
    check(spec.low <= low and high <= spec.high, f"{name} must be {spec.low} to {spec.high}, got {low} to {high}")


def _check_exp(name: str, table: NDArray[np.int32]) -> None:
    first = table[:, 0]
    check(bool((first == 1 << 15).all()), f"{name}[:, 0] must be {1 << 15}, got {sorted(set(first.tolist()))}")
    rising = np.argwhere(np.diff(table, axis=1) > 0)
    check(
        len(rising) == 0,
        f"{name} must not rise along a row, got a rise after [head, index] {rising[:1].tolist()}",
    )
