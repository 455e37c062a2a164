"""Memory of a network's parameters: float32 twin, one-bit weights with float32 around them, and the integer network.

The first two follow the state dicts of `model`; the integer network is counted from its tensors' allowed ranges
(`sim.network.tensors`), tables included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..network.blocks import HEAD, PATCH_EMBED, BlockShape, MergeShape
from ..network.config import ModelConfig
from ..network.formats import Formats
from ..network.tensors import TensorSpec, layer_specs

FLOAT_BITS = 32

#: Weights of one bit in a Bi-ViT end so; a row of them has one float scale.
_BINARY_WEIGHTS = ("attn.qkv.weight", "attn.proj.weight", "fc1.weight", "fc2.weight", "reduction.weight")

Shapes = dict[str, tuple[int, ...]]
Named = Iterator[tuple[str, tuple[int, ...]]]


def float_parameters(config: ModelConfig, binary: bool) -> Shapes:
    """Shapes of a model's trained parameters under their state-dict names.

    Parameters
    ----------
    config : ModelConfig
    binary : bool
        The Bi-ViT with its latent weights; else the real-valued twin.

    Returns
    -------
    dict[str, tuple[int, ...]]
        Without buffers and zero points, which a trained model does not need.
    """
    return {name: shape for shapes in _layers(config, binary).values() for name, shape in shapes.items()}


def _layers(config: ModelConfig, binary: bool) -> dict[str, Shapes]:
    """Shapes of the parameters of each layer, in hardware order."""
    layers = {PATCH_EMBED: dict(_patch_embed(config))}
    for stage in config.stages:
        if stage.merge is not None:
            layers[stage.merge.name] = dict(_merge(stage.merge, binary))
        for block in stage.blocks:
            layers[block.name] = dict(_block(block, binary))
    layers[HEAD] = dict(_head(config))
    return layers


def _patch_embed(config: ModelConfig) -> Named:
    width = config.embed_dim
    if not config.patch_norm:
        for token in ("cls_token", "dist_token")[: config.num_prefix_tokens]:
            yield token, (1, 1, width)
        yield "pos_embed", (1, config.num_tokens, width)
    yield "patch_embed.proj.weight", (width, config.in_chans, config.patch_size, config.patch_size)
    yield "patch_embed.proj.bias", (width,)
    if config.patch_norm:
        yield from _affine("patch_embed.norm", width)


def _head(config: ModelConfig) -> Named:
    yield from _affine("norm", config.num_features)
    for head in ("head", "head_dist")[: config.head_rows]:
        yield f"{head}.weight", (config.num_classes, config.num_features)
        yield f"{head}.bias", (config.num_classes,)


def _affine(name: str, channels: int) -> Named:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def _merge(merge: MergeShape, binary: bool) -> Named:
    yield from _affine(f"{merge.name}.norm", merge.in_dim)
    yield f"{merge.name}.reduction.weight", (merge.out_dim, merge.in_dim)
    if binary:
        yield f"{merge.name}.reduction.bias", (merge.out_dim,)


def _block(block: BlockShape, binary: bool) -> Named:
    name, width, hidden, heads = block.name, block.embed_dim, block.hidden_dim, block.num_heads
    yield from _affine(f"{name}.norm1", width)
    if block.window is not None:
        yield f"{name}.attn.relative_position_bias_table", (block.bias_entries, heads)
    yield f"{name}.attn.qkv.weight", (3 * width, width)
    if binary:
        for norm in ("q_norm", "k_norm"):
            yield f"{name}.attn.{norm}.weight", (heads, block.head_dim)
            yield f"{name}.attn.{norm}.bias", (heads, block.head_dim)
            yield f"{name}.attn.{norm}.scale", (heads,)
        yield f"{name}.attn.v_sign.bias", (width,)
        yield f"{name}.attn.attn_sign.{'scale' if block.attn_mode == 'softmax' else 'threshold'}", (heads,)
    else:
        yield f"{name}.attn.qkv.bias", (3 * width,)
    yield f"{name}.attn.proj.weight", (width, width)
    yield f"{name}.attn.proj.bias", (width,)
    yield from _affine(f"{name}.norm2", width)
    yield f"{name}.mlp.fc1.weight", (hidden, width)
    yield f"{name}.mlp.act.bias" if binary else f"{name}.mlp.fc1.bias", (hidden,)
    yield f"{name}.mlp.fc2.weight", (width, hidden)
    yield f"{name}.mlp.fc2.bias", (width,)


def _one_bit(name: str, shape: tuple[int, ...]) -> int:
    """Bits of a Bi-ViT's parameter: weights of products are signs with a scale a row."""
    if name.endswith(_BINARY_WEIGHTS):
        return math.prod(shape) + shape[0] * FLOAT_BITS
    return math.prod(shape) * FLOAT_BITS


def _integer(spec: TensorSpec) -> int:
    """Bits of an integer network's tensor, each element as wide as its allowed range."""
    if spec.packed_bits:
        return spec.shape[0] * spec.packed_bits
    magnitude = max(spec.high, -spec.low - 1).bit_length()
    return math.prod(spec.shape) * (magnitude + (spec.low < 0))


def parameter_bits(config: ModelConfig, formats: Formats) -> dict[str, dict[str, int]]:
    """Bits of all parameters, layer by layer.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
        Widths of the integer network.

    Returns
    -------
    dict[str, dict[str, int]]
        Layer, in hardware order, to `float32` (the twin), `binary` (the Bi-ViT with one-bit weights, the rest float32)
        and `integer` (the integer network).
    """
    twin, binary, integer = _layers(config, False), _layers(config, True), layer_specs(config, formats)
    return {
        layer: {
            "float32": sum(math.prod(shape) * FLOAT_BITS for shape in twin[layer].values()),
            "binary": sum(_one_bit(name, shape) for name, shape in binary[layer].items()),
            "integer": sum(_integer(spec) for spec in specs.values()),
        }
        for layer, specs in integer.items()
    }
