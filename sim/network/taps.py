"""Named intermediate tensors, which all three implementations report (docs/network.md, Taps)."""

from __future__ import annotations

from .blocks import BlockShape, MergeShape
from .config import ModelConfig

Shapes = dict[str, tuple[int, ...]]


def tap_names(config: ModelConfig) -> list[str]:
    """Names of all taps of a network of this shape, in hardware order."""
    return list(tap_shapes(config))


def tap_shapes(config: ModelConfig) -> Shapes:
    """Shape of each tap without the batch dimension, in hardware order.

    Parameters
    ----------
    config : ModelConfig

    Returns
    -------
    dict[str, tuple[int, ...]]
    """
    shapes: Shapes = {}
    if config.patch_norm:
        shapes["patch_embed.proj"] = (config.num_tokens, config.embed_dim)
        shapes |= {f"patch_embed.norm.{name}": (config.num_tokens,) for name in ("s1", "r", "q")}
    shapes["patch_embed"] = (config.num_tokens, config.embed_dim)
    for stage in config.stages:
        if stage.merge is not None:
            shapes |= _merge_shapes(stage.merge)
        for block in stage.blocks:
            shapes |= _block_shapes(block)
    rows, width = config.head_rows, config.num_features
    shapes["pool"] = (rows, width)
    shapes |= {f"norm.{name}": (rows,) for name in ("s1", "r", "q")}
    shapes["norm"] = (rows, width)
    shapes["head"] = (config.num_classes,)
    return shapes


def _merge_shapes(merge: MergeShape) -> Shapes:
    tokens = merge.tokens
    return {
        **_sign_norm_shapes(f"{merge.name}.norm", tokens, merge.in_dim),
        f"{merge.name}.reduction": (tokens, merge.out_dim),
        merge.name: (tokens, merge.out_dim),
    }


def _block_shapes(block: BlockShape) -> Shapes:
    name, tokens, width = block.name, block.tokens, block.embed_dim
    return {
        **_sign_norm_shapes(f"{name}.norm1", tokens, width),
        **_attention_shapes(f"{name}.attn", block),
        f"{name}.add1": (tokens, width),
        **_sign_norm_shapes(f"{name}.norm2", tokens, width),
        f"{name}.mlp.fc1": (tokens, block.hidden_dim),
        f"{name}.mlp.act": (tokens, block.hidden_dim),
        f"{name}.mlp.fc2": (tokens, width),
        f"{name}.add2": (tokens, width),
    }


def _sign_norm_shapes(name: str, tokens: int, channels: int) -> Shapes:
    return {f"{name}.s1": (tokens,), f"{name}.r": (tokens,), name: (tokens, channels)}


def _attention_shapes(attn: str, block: BlockShape) -> Shapes:
    # Inside windows, the windows come before the heads.
    heads: tuple[int, ...] = (block.num_heads,)
    if block.window is not None:
        heads = (block.windows, block.num_heads)
    tokens, width, members = block.tokens, block.embed_dim, block.window_tokens
    shapes: Shapes = {f"{attn}.qkv": (tokens, 3 * width)}
    for name in ("q_norm", "k_norm"):
        if block.qk_mode == "layernorm":
            shapes |= {f"{attn}.{name}.{row}": (*heads, members) for row in ("s1", "r")}
        shapes[f"{attn}.{name}"] = (*heads, members, block.head_dim)
    shapes[f"{attn}.v_sign"] = (*heads, members, block.head_dim)
    shapes[f"{attn}.scores"] = (*heads, members, members)
    if block.attn_mode == "softmax":
        shapes |= {f"{attn}.attn_sign.{row}": (*heads, members) for row in ("m", "z")}
    shapes[f"{attn}.attn_sign"] = (*heads, members, members)
    shapes |= {f"{attn}.{name}": (tokens, width) for name in ("context.c", "context", "proj")}
    return shapes
