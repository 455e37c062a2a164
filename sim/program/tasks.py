"""The graphs of a network: patch embedding, a block, the last norm, the answer."""

from __future__ import annotations

from ..network.blocks import BlockShape
from .array_tasks import ArrayTasks
from .graph import Graph, Task
from .layout import Layout
from .unit_tasks import EdgeTasks, NormTasks


def network_graphs(layout: Layout, patch_shift: int) -> tuple[Graph, Graph, Graph, Graph]:
    """Return the graphs of the patch embedding, of one block, of the last norm, and of the answer.

    Parameters
    ----------
    layout : Layout
        Network shape and engine.
    patch_shift : int
        Shift of the patch embedding, n (semantics.md, 1).
    """
    edge = EdgeTasks(layout, patch_shift)
    ((block, *_),) = (stage.blocks for stage in layout.config.stages)  # a ViT's blocks have one shape
    return (
        Graph("embed", tuple(_embed(layout, edge))),
        Graph("block", tuple(_block(layout, block))),
        Graph("last", tuple(_last(layout, edge))),
        Graph("answer", (edge.logits(), edge.output())),
    )


def _embed(layout: Layout, edge: EdgeTasks) -> list[Task]:
    """Constant prefix tokens, then the patch embedding strip by strip."""
    prefix, grid = layout.config.num_prefix_tokens, layout.config.grid_size
    tasks = [edge.prefix()] if prefix else []
    return tasks + [edge.embed(prefix + strip * grid) for strip in range(grid)]


def _block(layout: Layout, shape: BlockShape) -> list[Task]:
    """Keys and values of all tokens first, then attention head by head, then the rest tile by tile."""
    array, norms = ArrayTasks(layout, shape), NormTasks(layout, shape)
    tiles, heads = layout.tiles(), range(shape.num_heads)

    def query_or_key(part: str) -> list[Task]:
        normed = norms.head_norm(part, tile, head) if shape.qk_mode == "layernorm" else []
        return [*array.query_or_key(part, tile, head), *normed]

    tasks: list[Task] = []
    for tile in tiles:
        tasks += norms.sign_norm("norm1", tile)
        for head in heads:
            tasks += [*query_or_key("k"), *array.value(tile, head), *query_or_key("q")]
    softmax = shape.attn_mode == "softmax"
    for head in heads:
        tasks += [norms.table(head)] if softmax else []
        for tile in tiles:
            thresholded = [norms.attention(tile, head)] if softmax else []
            tasks += [*array.scores(tile, head), *thresholded, *array.context(tile, head)]
    for tile in tiles:
        tasks += [*array.projection(tile), *norms.sign_norm("norm2", tile), *array.fc1(tile), *array.fc2(tile)]
    return tasks


def _last(layout: Layout, edge: EdgeTasks) -> list[Task]:
    """Pooling and last norm."""
    pool = [edge.pool()] if layout.config.mean_pool else []
    rows = [edge.normalise(row) for row in range(layout.config.head_rows)]
    return [*pool, edge.last_norm(), *rows]
