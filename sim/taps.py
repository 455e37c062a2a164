"""Named intermediate tensors, which all three implementations report (docs/network.md, Taps)."""

from __future__ import annotations

from .config import ViTConfig


def tap_names(config: ViTConfig) -> list[str]:
    """Names of all taps of a network of this shape, in hardware order."""
    return list(tap_shapes(config))


def tap_shapes(config: ViTConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each tap without the batch dimension, in hardware order.

    Parameters
    ----------
    config : ViTConfig

    Returns
    -------
    dict[str, tuple[int, ...]]
    """
    tokens, width, rows = config.num_tokens, config.embed_dim, config.head_rows
    shapes: dict[str, tuple[int, ...]] = {"patch_embed": (tokens, width)}
    for index in range(config.depth):
        block = f"blocks.{index}"
        shapes |= _sign_norm_shapes(f"{block}.norm1", config)
        shapes |= _attention_shapes(f"{block}.attn", config)
        shapes[f"{block}.add1"] = (tokens, width)
        shapes |= _sign_norm_shapes(f"{block}.norm2", config)
        shapes[f"{block}.mlp.fc1"] = (tokens, config.hidden_dim)
        shapes[f"{block}.mlp.act"] = (tokens, config.hidden_dim)
        shapes[f"{block}.mlp.fc2"] = (tokens, width)
        shapes[f"{block}.add2"] = (tokens, width)
    shapes["pool"] = (rows, width)
    shapes |= {f"norm.{name}": (rows,) for name in ("s1", "r", "q")}
    shapes["norm"] = (rows, width)
    shapes["head"] = (config.num_classes,)
    return shapes


def _sign_norm_shapes(name: str, config: ViTConfig) -> dict[str, tuple[int, ...]]:
    tokens = config.num_tokens
    return {f"{name}.s1": (tokens,), f"{name}.r": (tokens,), name: (tokens, config.embed_dim)}


def _attention_shapes(attn: str, config: ViTConfig) -> dict[str, tuple[int, ...]]:
    tokens, width, heads = config.num_tokens, config.embed_dim, config.num_heads
    per_head = (heads, tokens, config.head_dim)
    shapes: dict[str, tuple[int, ...]] = {f"{attn}.qkv": (tokens, 3 * width)}
    for name in ("q_norm", "k_norm"):
        if config.qk_mode == "layernorm":
            shapes |= {f"{attn}.{name}.{row}": (heads, tokens) for row in ("s1", "r")}
        shapes[f"{attn}.{name}"] = per_head
    shapes[f"{attn}.v_sign"] = per_head
    shapes[f"{attn}.scores"] = (heads, tokens, tokens)
    if config.attn_mode == "softmax":
        shapes |= {f"{attn}.attn_sign.{row}": (heads, tokens) for row in ("m", "z")}
    shapes[f"{attn}.attn_sign"] = (heads, tokens, tokens)
    shapes |= {f"{attn}.{name}": (tokens, width) for name in ("context.c", "context", "proj")}
    return shapes
