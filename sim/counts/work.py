"""Operations of one image, layer by layer: products, what a float network does beside them, and what integers need.

Sizes come from `ModelConfig.stages` alone. Products are counted in multiply-accumulates (MACs), everything else in
elements; `sim.counts.conventions` says what an element costs. docs/operations.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..network.blocks import HEAD, PATCH_EMBED, BlockShape, MergeShape
from ..network.config import ModelConfig

#: Products of +-1 or 0/1 operands in a Bi-ViT; the others are the patch embedding and the classifier.
BLOCK_PRODUCTS = ("qkv", "scores", "context", "proj", "fc1", "fc2")
BINARY_PRODUCTS = (*BLOCK_PRODUCTS, "reduction")


@dataclass(frozen=True)
class Work:
    """Work of one kind in one layer: MACs of a product, elements of anything else."""

    layer: str
    kind: str
    count: int


def products(config: ModelConfig) -> list[Work]:
    """MACs of every matrix product; the same for a Bi-ViT and its real-valued twin.

    Parameters
    ----------
    config : ModelConfig

    Returns
    -------
    list of Work
        Kinds `patch_embed`, those of `BINARY_PRODUCTS`, and `head`, in hardware order.
    """
    patches = config.grid_size**2
    works = [Work(PATCH_EMBED, "patch_embed", patches * config.patch_dim * config.embed_dim)]
    for stage in config.stages:
        if stage.merge is not None:
            merge = stage.merge
            works.append(Work(merge.name, "reduction", merge.tokens * merge.in_dim * merge.out_dim))
        for block in stage.blocks:
            works += _block_products(block)
    works.append(Work(HEAD, "head", config.head_rows * config.num_features * config.num_classes))
    return works


def _block_products(block: BlockShape) -> Iterator[Work]:
    n, d, m = block.tokens, block.embed_dim, block.hidden_dim
    # Every token meets the n tokens of its window, in all heads together over D channels.
    pairs = n * block.window_tokens * d
    counts = (3 * n * d * d, pairs, pairs, n * d * d, n * d * m, n * m * d)
    for kind, count in zip(BLOCK_PRODUCTS, counts, strict=True):
        yield Work(block.name, kind, count)


def float_work(config: ModelConfig, binary: bool) -> list[Work]:
    """Elements of all that is no product, in float: what the official code of a Bi-ViT, or its twin, computes.

    Parameters
    ----------
    config : ModelConfig
    binary : bool
        The Bi-ViT, which normalises q and k in `qk_mode` layernorm and has no softmax in `attn_mode` score; else the
        real-valued twin.

    Returns
    -------
    list of Work
        Kinds `position` (embedding, relative bias), `norm`, `qk_norm`, `softmax`, `gelu` and `residual`. The last norm
        is taken over all tokens, as in the official code.
    """
    # Prefix tokens are constants, their positions already added.
    patches = config.grid_size**2 * config.embed_dim
    works = [Work(PATCH_EMBED, "norm" if config.patch_norm else "position", patches)]
    for stage in config.stages:
        if stage.merge is not None:
            works.append(Work(stage.merge.name, "norm", stage.merge.tokens * stage.merge.in_dim))
        for block in stage.blocks:
            works += _block_float_work(block, binary)
    works.append(Work(HEAD, "norm", config.blocks[-1].tokens * config.num_features))
    return works


def _block_float_work(block: BlockShape, binary: bool) -> Iterator[Work]:
    stream, scores = block.tokens * block.embed_dim, block.num_heads * block.tokens * block.window_tokens
    yield Work(block.name, "norm", 2 * stream)
    if binary and block.qk_mode == "layernorm":
        yield Work(block.name, "qk_norm", 2 * stream)
    if block.window is not None:
        yield Work(block.name, "position", scores)
    if not binary or block.attn_mode == "softmax":
        yield Work(block.name, "softmax", scores)
    yield Work(block.name, "gelu", block.tokens * block.hidden_dim)
    yield Work(block.name, "residual", 2 * stream)


def integer_work(config: ModelConfig) -> list[Work]:
    """Elements of all that is no product in the integer network (docs/semantics.md).

    Parameters
    ----------
    config : ModelConfig

    Returns
    -------
    list of Work
        Kinds are keys of `sim.counts.conventions.INTEGER_WEIGHTS`. Work once a row (roots, reciprocals) is left out.
    """
    patches = config.grid_size**2 * config.embed_dim
    works = [
        Work(PATCH_EMBED, "scale", patches),
        Work(PATCH_EMBED, "patch_norm" if config.patch_norm else "position", patches),
    ]
    for stage in config.stages:
        if stage.merge is not None:
            works += _merge_integer_work(stage.merge)
        for block in stage.blocks:
            works += _block_integer_work(block)
    if config.mean_pool:
        works.append(Work(HEAD, "pool", config.blocks[-1].tokens * config.num_features))
    works.append(Work(HEAD, "last_norm", config.head_rows * config.num_features))
    return works


def _merge_integer_work(merge: MergeShape) -> Iterator[Work]:
    yield Work(merge.name, _sign_norm(merge), merge.tokens * merge.in_dim)
    yield Work(merge.name, "scale", merge.tokens * merge.out_dim)


def _block_integer_work(block: BlockShape) -> Iterator[Work]:
    stream, scores = block.tokens * block.embed_dim, block.num_heads * block.tokens * block.window_tokens
    yield Work(block.name, _sign_norm(block), 2 * stream)
    if block.qk_mode == "layernorm":
        yield Work(block.name, "qk_norm", 2 * stream)
    # v and the context are compared always, q and k where they are not normalised; GELU's sign is fc1's threshold.
    thresholds = (2 if block.qk_mode == "layernorm" else 4) * stream + block.tokens * block.hidden_dim
    yield Work(block.name, "threshold", thresholds)
    if block.window is not None:
        yield Work(block.name, "position", scores)
    yield Work(block.name, "softmax" if block.attn_mode == "softmax" else "threshold", scores)
    yield Work(block.name, "residual", 2 * stream)


def _sign_norm(part: BlockShape | MergeShape) -> str:
    return "sign_norm" if part.norm_mode == "layernorm" else "mean_norm"
