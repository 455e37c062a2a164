"""The tensors of an integer network: keys, shapes, dtypes and value ranges (docs/network.md, Tensors)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ..bits import ISQRT_LIMIT, padding_is_zero, signed_range, word_count
from ..errors import check
from .blocks import HEAD, PATCH_EMBED, BlockShape, MergeShape
from .config import ModelConfig
from .formats import EPS_BITS, PATCH_BIAS_BITS, Formats


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


#: Largest patch whose sum of products of 8 bits stays in int32.
LARGEST_PATCH = ((1 << 31) - 1) // (255 * 128)

Named = Iterator[tuple[str, TensorSpec]]


def _packed(rows: int, length: int) -> TensorSpec:
    return TensorSpec(np.uint64, (rows, word_count(length)), packed_bits=length)


def _norm_eps_limit(channels: int, magnitude: int) -> int:
    """Largest Eps: of `EPS_BITS`, and so that ``V = channels * S2 - S1^2 + Eps`` is below the square root's limit."""
    return min((1 << EPS_BITS) - 1, ISQRT_LIMIT - 1 - (channels * magnitude) ** 2)


def _residual_norm_eps(channels: int, formats: Formats) -> TensorSpec:
    limit = _norm_eps_limit(channels, 1 << (formats.norm_bits - 1))
    return TensorSpec(np.int64, (1,), 1, limit)


def _sign_norm_specs(name: str, channels: int, norm_mode: str, formats: Formats) -> Named:
    yield f"{name}.theta", TensorSpec(np.int32, (channels,), *signed_range(formats.theta_bits))
    if norm_mode == "layernorm":
        yield f"{name}.eps", _residual_norm_eps(channels, formats)


def _head_norm_specs(name: str, block: BlockShape, formats: Formats) -> Named:
    shape = (block.num_heads, block.head_dim)
    if block.qk_mode == "threshold":
        yield f"{name}.theta", TensorSpec(np.int32, shape, -block.embed_dim, block.embed_dim + 2)
        return
    largest_scale = (1 << formats.qk_scale_bits) - 1
    limit = _norm_eps_limit(block.head_dim, largest_scale * block.embed_dim)
    yield f"{name}.theta", TensorSpec(np.int32, shape, *signed_range(formats.theta_bits))
    yield f"{name}.scale", TensorSpec(np.int32, shape, 1, largest_scale)
    yield f"{name}.eps", TensorSpec(np.int64, (block.num_heads,), 1, limit)


def _attn_sign_specs(attn: str, block: BlockShape) -> Named:
    heads = block.num_heads
    if block.window is not None:
        yield (
            f"{attn}.relative_position_bias_table",
            TensorSpec(np.int32, (block.bias_entries, heads), 0, block.head_dim),
        )
    if block.attn_mode == "score":
        yield f"{attn}.attn_sign.theta", TensorSpec(np.int32, (heads,), 0, block.largest_score + 1)
        return
    yield f"{attn}.attn_sign.exp", TensorSpec(np.int32, (heads, block.largest_score + 1), 0, 1 << 15)
    yield f"{attn}.attn_sign.tau", TensorSpec(np.int32, (heads,), 0, 1 << 16)


def _product_specs(name: str, inputs: int, outputs: int, formats: Formats) -> Named:
    yield f"{name}.weight", _packed(outputs, inputs)
    yield f"{name}.scale", TensorSpec(np.int32, (outputs,), *signed_range(formats.scale_bits))
    yield f"{name}.bias", TensorSpec(np.int32, (outputs,), *signed_range(formats.residual_bits))


def _merge_specs(merge: MergeShape, formats: Formats) -> Named:
    yield from _sign_norm_specs(f"{merge.name}.norm", merge.in_dim, merge.norm_mode, formats)
    yield from _product_specs(f"{merge.name}.reduction", merge.in_dim, merge.out_dim, formats)


def _block_specs(block: BlockShape, formats: Formats) -> Named:
    name, width, hidden = block.name, block.embed_dim, block.hidden_dim
    yield from _sign_norm_specs(f"{name}.norm1", width, block.norm_mode, formats)
    yield f"{name}.attn.qkv.weight", _packed(3 * width, width)
    yield from _head_norm_specs(f"{name}.attn.q_norm", block, formats)
    yield from _head_norm_specs(f"{name}.attn.k_norm", block, formats)
    yield f"{name}.attn.v_sign.theta", TensorSpec(np.int32, (width,), -width, width + 2)
    yield from _attn_sign_specs(f"{name}.attn", block)
    yield from _product_specs(f"{name}.attn.proj", width, width, formats)
    yield from _sign_norm_specs(f"{name}.norm2", width, block.norm_mode, formats)
    yield f"{name}.mlp.fc1.weight", _packed(hidden, width)
    yield f"{name}.mlp.act.theta", TensorSpec(np.int32, (hidden,), -width, width + 2)
    yield from _product_specs(f"{name}.mlp.fc2", hidden, width, formats)


def _patch_embed_specs(config: ModelConfig, formats: Formats) -> Named:
    width = config.embed_dim
    yield "patch_embed.proj.weight", TensorSpec(np.int8, (width, config.patch_dim), -128, 127)
    yield "patch_embed.proj.scale", TensorSpec(np.int32, (width,), 1, (1 << 15) - 1)
    yield "patch_embed.proj.bias", TensorSpec(np.int64, (width,), *signed_range(PATCH_BIAS_BITS))
    yield "patch_embed.proj.shift", TensorSpec(np.int32, (1,), 1, 40)
    if config.patch_norm:
        yield "patch_embed.norm.scale", TensorSpec(np.int32, (width,), *signed_range(formats.scale_bits))
        yield "patch_embed.norm.bias", TensorSpec(np.int32, (width,), *signed_range(formats.residual_bits))
        yield "patch_embed.norm.eps", _residual_norm_eps(width, formats)
    else:
        yield "pos_embed", TensorSpec(np.int32, (config.num_tokens, width), *signed_range(formats.residual_bits))


def _head_specs(config: ModelConfig, formats: Formats) -> Named:
    width = config.num_features
    yield "norm.eps", _residual_norm_eps(width, formats)
    yield "head.weight", TensorSpec(np.int8, (config.num_classes, config.head_rows * width), -128, 127)
    yield "head.bias", TensorSpec(np.int32, (config.num_classes,), *signed_range(31))


def tensor_specs(config: ModelConfig, formats: Formats) -> dict[str, TensorSpec]:
    """Every tensor of a network of this shape, in hardware order.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats

    Returns
    -------
    dict[str, TensorSpec]

    Raises
    ------
    BivitError
        When the formats are too wide for this shape.
    """
    return {name: spec for specs in layer_specs(config, formats).values() for name, spec in specs.items()}


def layer_specs(config: ModelConfig, formats: Formats) -> dict[str, dict[str, TensorSpec]]:
    """`tensor_specs` by the layer that they belong to: patch embedding, each merging and block, head."""
    check_formats(config, formats)
    layers = {PATCH_EMBED: dict(_patch_embed_specs(config, formats))}
    for stage in config.stages:
        if stage.merge is not None:
            layers[stage.merge.name] = dict(_merge_specs(stage.merge, formats))
        for block in stage.blocks:
            layers[block.name] = dict(_block_specs(block, formats))
    layers[HEAD] = dict(_head_specs(config, formats))
    return layers


def check_formats(config: ModelConfig, formats: Formats) -> None:
    """Check that no intermediate of a network of this shape can leave its type (docs/semantics.md).

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
    check(
        not config.patch_norm or formats.residual_frac_bits >= 1,
        f"residual_frac_bits must be 1 or more in a {config.family}, whose patches are normalised, "
        f"got {formats.residual_frac_bits}",
    )
    for lower, what, bound in _bounds(config, formats):
        check(
            bound < ISQRT_LIMIT,
            f"with {config.num_features} channels, {what} needs {bound.bit_length()} bits and at most "
            f"{ISQRT_LIMIT.bit_length() - 1} are allowed; lower {lower}",
        )
    # The rest fits: the residual stream and the scaled products of q and k where their variance fits int64.
    check(
        config.patch_dim <= LARGEST_PATCH,
        f"a patch has {config.patch_dim:,} pixels and at most {LARGEST_PATCH:,} are allowed, whose products int32 "
        "holds; choose smaller patches",
    )


def _bounds(config: ModelConfig, formats: Formats) -> Iterator[tuple[str, str, int]]:
    """Each widest intermediate: the format to lower, what it is, and a bound of its magnitude."""
    # Channels only grow from stage to stage, so the last block and the widest norm bound all others; the heads may not.
    width, frac = config.num_features, formats.theta_frac_bits
    head = max(config.blocks, key=lambda block: block.head_dim * block.embed_dim)
    widest = max([width, *(stage.merge.in_dim for stage in config.stages if stage.merge is not None)])
    for lower, what, channels, magnitude in (
        ("residual_bits - norm_shift", "SignNorm", widest, 1 << (formats.norm_bits - 1)),
        ("qk_scale_bits", "HeadNorm", head.head_dim, head.embed_dim << formats.qk_scale_bits),
    ):
        # N_c * S2 is at most (N_c * max|x|)^2, and |N_c * x - S1| at most twice N_c * max|x|.
        yield lower, f"the variance of {what}", (channels * magnitude) ** 2
        yield "theta_frac_bits", f"the comparison of {what}", 2 * channels * magnitude << frac
    threshold = 1 << (formats.theta_bits - 1 + frac + formats.mean_shift)
    yield "mean_shift", "the threshold of SignNorm", threshold
    # R is at least |N_c * x - S1| / sqrt(N_c) - 1, and at least 1: the product with Q is within this bound.
    largest = 2 * (math.isqrt(width) + 1)
    yield "head_m", "the normalisation of the head", largest << formats.head_m
    if config.patch_norm:
        shift = formats.residual_frac_bits + formats.scale_bits - 1
        yield "scale_bits", "the normalisation of the patches", 2 * (math.isqrt(config.embed_dim) + 1) << shift
    yield "head_frac_bits", "a logit", (largest << formats.head_frac_bits) * config.head_rows * width * 128 + (1 << 31)


def check_tensors(tensors: Mapping[str, NDArray], config: ModelConfig, formats: Formats) -> None:
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
