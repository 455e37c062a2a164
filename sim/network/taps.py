"""Named intermediate tensors, which all three implementations report (docs/network.md, Taps)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .blocks import BlockShape, MergeShape
from .config import ModelConfig

#: Axes of a matrix of the network's tokens, and of one value a token.
_STREAM, _TOKENS = ("token", "channel"), ("token",)
#: Axes of what the classifier reads: the prefix tokens, or the mean of all.
_POOLED, _ROWS = ("row", "channel"), ("row",)


@dataclass(frozen=True)
class Tap:
    """One named tensor.

    Parameters
    ----------
    name : str
        As in docs/network.md.
    axes : tuple of str
        What each axis counts, without the batch dimension: `token`, `channel`, `head`, `key`, `window`, `row` or
        `class`.
    shape : tuple of int
        Length of each axis.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]


def taps_of(config: ModelConfig) -> tuple[Tap, ...]:
    """All taps of a network of this shape, in hardware order."""
    return tuple(_taps(config))


def tap_names(config: ModelConfig) -> list[str]:
    """Names of all taps of a network of this shape, in hardware order."""
    return [tap.name for tap in taps_of(config)]


def tap_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each tap without the batch dimension, in hardware order.

    Parameters
    ----------
    config : ModelConfig

    Returns
    -------
    dict[str, tuple[int, ...]]
    """
    return {tap.name: tap.shape for tap in taps_of(config)}


def _taps(config: ModelConfig) -> Iterator[Tap]:
    stream = (config.num_tokens, config.embed_dim)
    if config.patch_norm:
        yield Tap("patch_embed.proj", _STREAM, stream)
        for name in ("s1", "r", "q"):
            yield Tap(f"patch_embed.norm.{name}", _TOKENS, (config.num_tokens,))
    yield Tap("patch_embed", _STREAM, stream)
    for stage in config.stages:
        if stage.merge is not None:
            yield from _merge_taps(stage.merge)
        for block in stage.blocks:
            yield from _block_taps(block)
    rows, width = config.head_rows, config.num_features
    yield Tap("pool", _POOLED, (rows, width))
    for name in ("s1", "r", "q"):
        yield Tap(f"norm.{name}", _ROWS, (rows,))
    yield Tap("norm", _POOLED, (rows, width))
    yield Tap("head", ("class",), (config.num_classes,))


def _merge_taps(merge: MergeShape) -> Iterator[Tap]:
    yield from _sign_norm_taps(f"{merge.name}.norm", merge.tokens, merge.in_dim)
    yield Tap(f"{merge.name}.reduction", _STREAM, (merge.tokens, merge.out_dim))
    yield Tap(merge.name, _STREAM, (merge.tokens, merge.out_dim))


def _block_taps(block: BlockShape) -> Iterator[Tap]:
    name, stream, hidden = block.name, (block.tokens, block.embed_dim), (block.tokens, block.hidden_dim)
    yield from _sign_norm_taps(f"{name}.norm1", *stream)
    yield from _attention_taps(f"{name}.attn", block)
    yield Tap(f"{name}.add1", _STREAM, stream)
    yield from _sign_norm_taps(f"{name}.norm2", *stream)
    yield Tap(f"{name}.mlp.fc1", _STREAM, hidden)
    yield Tap(f"{name}.mlp.act", _STREAM, hidden)
    yield Tap(f"{name}.mlp.fc2", _STREAM, stream)
    yield Tap(f"{name}.add2", _STREAM, stream)


def _sign_norm_taps(name: str, tokens: int, channels: int) -> Iterator[Tap]:
    yield Tap(f"{name}.s1", _TOKENS, (tokens,))
    yield Tap(f"{name}.r", _TOKENS, (tokens,))
    yield Tap(name, _STREAM, (tokens, channels))


def _attention_taps(attn: str, block: BlockShape) -> Iterator[Tap]:
    stream, members = (block.tokens, block.embed_dim), block.window_tokens
    rows: tuple[str, ...] = ("head", "token")
    row_shape: tuple[int, ...] = (block.num_heads, members)
    if block.window is not None:
        # Inside windows, the windows come before the heads.
        rows, row_shape = ("window", *rows), (block.windows, *row_shape)
    channels, keys = (*rows, "channel"), (*rows, "key")
    head, square = (*row_shape, block.head_dim), (*row_shape, members)
    yield Tap(f"{attn}.qkv", _STREAM, (block.tokens, 3 * block.embed_dim))
    for name in ("q_norm", "k_norm"):
        if block.qk_mode == "layernorm":
            yield Tap(f"{attn}.{name}.s1", rows, row_shape)
            yield Tap(f"{attn}.{name}.r", rows, row_shape)
        yield Tap(f"{attn}.{name}", channels, head)
    yield Tap(f"{attn}.v_sign", channels, head)
    yield Tap(f"{attn}.scores", keys, square)
    if block.attn_mode == "softmax":
        yield Tap(f"{attn}.attn_sign.m", rows, row_shape)
        yield Tap(f"{attn}.attn_sign.z", rows, row_shape)
    yield Tap(f"{attn}.attn_sign", keys, square)
    for name in ("context.c", "context", "proj"):
        yield Tap(f"{attn}.{name}", _STREAM, stream)
