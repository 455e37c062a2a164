"""A network's tensors in the layouts that the kernels read (`sim.reference.products`), made once a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import word_count
from ..errors import check
from ..network.blocks import BlockShape
from ..network.config import ModelConfig
from ..network.windows import relative_positions, window_mask, window_tokens
from .attention import LOW
from .products import FIELDS, GROUPS, STRIDE
from .workspace import aligned

#: Largest length of a row whose products int16 holds.
_LARGEST_INT16 = 2**15 - 1


@dataclass(frozen=True)
class Heads:
    """What the attention of one block reads.

    Attributes
    ----------
    members : int64[W, n] or None
        Raster indices of each window's tokens; None without windows.
    start : int16[H or 1, n or 1, 64 * words of n]
        `score_start`.
    mask : int16[W or 1, n or 1, 64 * words of n]
        `score_mask`.
    exp : int32[H, largest score + 1]
        Table of exponentials; size 0 in mode `score`.
    pairs : int32[H, (largest score + 2)**2]
        `exp_pairs` of it.
    limits : int32[H]
        Tau, or Theta in mode `score`.
    """

    members: NDArray[np.int64] | None
    start: NDArray[np.int16]
    mask: NDArray[np.int16]
    exp: NDArray[np.int32]
    pairs: NDArray[np.int32]
    limits: NDArray[np.int32]


def acc_type(length: int) -> type[np.signedinteger[Any]]:
    """Narrowest type that holds the products of rows of `length` bits and their thresholds, up to K + 2."""
    return np.int16 if length + 2 <= _LARGEST_INT16 else np.int32


def grouped(weight: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Arrange packed weights [outputs, words] as [blocks, words * 4 * STRIDE], filled up with zeros.

    Blocks are as large as each other. Word w of output o of a block, one of group o // 4, is at
    ``[block, (4 * w + o % 4) * STRIDE + o // 4]``.

    >>> packed = grouped(np.arange(5, dtype=np.uint64)[:, np.newaxis])
    >>> packed.shape, packed.reshape(4, -1)[:, :3].tolist()
    ((1, 800), [[0, 4, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])
    """
    outputs, words = weight.shape
    blocks = -(-outputs // (FIELDS * GROUPS))
    groups = -(-outputs // (FIELDS * blocks))
    padded = np.pad(weight, ((0, blocks * groups * FIELDS - outputs), (0, 0)))
    found = aligned((blocks, words, FIELDS, STRIDE), np.uint64)
    found[...] = 0
    found[..., :groups] = padded.reshape(blocks, groups, FIELDS, words).transpose(0, 3, 2, 1)
    return found.reshape(blocks, -1)


def exp_pairs(exp: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sums of two entries of a table of exponentials, for two keys that are looked up at once.

    Parameters
    ----------
    exp : int32[H, entries]

    Returns
    -------
    int32[H, (entries + 1)**2]
        Entry ``i * (entries + 1) + j`` is ``exp[i] + exp[j]``; the index after the last entry stands for a pair that
        may not attend, and adds 0.

    Examples
    --------
    >>> exp_pairs(np.array([[8, 3]], dtype=np.int32)).tolist()
    [[16, 11, 8, 11, 6, 3, 8, 3, 0]]
    """
    padded = np.pad(exp, ((0, 0), (0, 1)))
    return (padded[:, :, np.newaxis] + padded[:, np.newaxis, :]).reshape(len(exp), -1)


def score_start(length: int, tokens: int, bias: NDArray[np.integer[Any]] | None = None) -> NDArray[np.int16]:
    """What the scores start from, before differences are counted, with whole words of keys.

    Parameters
    ----------
    length : int
        E, bits of a row.
    tokens : int
        n.
    bias : int[H, n, n] or None
        Relative position bias of each pair.

    Returns
    -------
    int16[H or 1, n or 1, 64 * words of n]
        E + bias, and `sim.reference.attention.LOW` after the last key.
    """
    bias = np.zeros((1, 1, tokens), dtype=np.int16) if bias is None else bias
    start = aligned((*bias.shape[:2], 64 * word_count(tokens)), np.int16)
    start[..., :tokens], start[..., tokens:] = bias + length, LOW
    return start


def score_mask(tokens: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int16]:
    """What is added to the scores, in whole words of keys: `LOW` of `attention` where a pair may not attend, else 0.

    Parameters
    ----------
    tokens : int
        n.
    allowed : bool[W, n, n] or None
        Which pairs may attend; None for all.

    Returns
    -------
    int16[W or 1, n or 1, 64 * words of n]
    """
    allowed = np.ones((1, 1, tokens), dtype=np.bool_) if allowed is None else allowed
    mask = aligned((*allowed.shape[:2], 64 * word_count(tokens)), np.int16)
    mask[..., :tokens], mask[..., tokens:] = np.where(allowed, 0, LOW), 0
    return mask


def prepare_heads(block: BlockShape, tensors: Mapping[str, NDArray[Any]]) -> Heads:
    """Gather the tables of one block's attention.

    Raises
    ------
    BivitError
        When more tokens attend to each other than are counted in 16 bits.
    """
    attn, sign, tokens = f"{block.name}.attn", f"{block.name}.attn.attn_sign", block.window_tokens
    check(
        tokens <= _LARGEST_INT16,
        f"{attn} has {tokens} tokens that attend to each other; this reference counts them in 16 bits, at most "
        f"{_LARGEST_INT16}: choose larger patches or smaller images",
    )
    members, bias = None, None
    if block.window is not None:
        table = tensors[f"{attn}.relative_position_bias_table"]
        members, bias = window_tokens(block), np.moveaxis(table[relative_positions(block.window)], -1, 0)
    if block.attn_mode == "score":
        exp, limits = np.empty((block.num_heads, 0), dtype=np.int32), tensors[f"{sign}.theta"]
    else:
        exp, limits = tensors[f"{sign}.exp"], tensors[f"{sign}.tau"]
    start = score_start(block.head_dim, tokens, bias)
    return Heads(members, start, score_mask(tokens, window_mask(block)), exp, exp_pairs(exp), limits)


def prepare(config: ModelConfig, tensors: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return what the kernels read, by the names of the tensors; attention tables by the name of the attention.

    Parameters
    ----------
    config : ModelConfig
    tensors : mapping of str to ndarray
        Checked by `sim.network.tensors.check_tensors`.

    Returns
    -------
    dict
        Packed weights as `grouped` arranges them, thresholds of products in the type of the products, `Heads`, position
        embeddings (zeros where there are none), and the other tensors as they are.
    """
    prepared: dict[str, Any] = {
        name: grouped(tensor) if tensor.dtype == np.uint64 else tensor for name, tensor in tensors.items()
    }
    for block in config.blocks:
        attn, kind = f"{block.name}.attn", acc_type(block.embed_dim)
        names = [f"{attn}.v_sign.theta", f"{block.name}.mlp.act.theta"]
        if block.qk_mode == "threshold":
            names += [f"{attn}.q_norm.theta", f"{attn}.k_norm.theta"]
        for name in names:
            prepared[name] = tensors[name].astype(kind)
        prepared[f"{attn}.v_sign.theta"] = prepared[f"{attn}.v_sign.theta"].reshape(-1)
        prepared[attn] = prepare_heads(block, tensors)
    if config.patch_norm:
        prepared["pos_embed"] = np.zeros((config.num_tokens, config.embed_dim), dtype=np.int32)
    return prepared
