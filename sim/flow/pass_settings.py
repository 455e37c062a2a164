"""Settings of a pass: what an engine with windows must know of a stage's blocks, or of a patch merging."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.words import ceil_div
from ..network.stage_view import StageView
from .config import FlowConfig
from .memories import core_memories, head_eps
from .operation import Operands
from .residual_add import ResidualAddUnit
from .streams import TileShape

#: Tokens that a patch merging makes one of.
NEIGHBOURS = 4


@dataclass(frozen=True, kw_only=True)
class PassBases:
    """Where what a pass uses begins in the engine's memories.

    Parameters
    ----------
    slots : int
        First word of its slot table.
    block : int
        Number of its first block, or of the merging, among those of the network.
    weights, preload, layer, head, head_eps, table : int
        First word of the first block's parameters, as in a record of `hw.slots.records`; of streamed weights it has no
        effect, as they follow those of the pass before.
    bias, mask : int
        First word of the first block's relative position bias, and of masks.
    place, shifted : int
        First word of the places of windows, and of shifted ones.
    last : bool
        Whether it is the network's last pass.
    """

    slots: int = 0
    block: int = 0
    weights: int = 0
    preload: int = 0
    layer: int = 0
    head: int = 0
    head_eps: int = 0
    table: int = 0
    bias: int = 0
    mask: int = 0
    place: int = 0
    shifted: int = 0
    last: bool = True


def pass_bits(flow: FlowConfig, bits: dict[str, int]) -> dict[str, int]:
    """Return the settings that only engines with windows have, by name, and their bits.

    `merges`: a patch merging; `scored`, `biased`: the attention has no softmax, and has a bias; `rounds_last`: of all
    windows of all images, less one; `windows_last`, `side_last`: windows of an image, and in a row; `first_*`: as
    `PassBases`, in place of that of streamed weights `pass_weights`, the words of them all; `bias_step`: from block to
    block; `job_words`: words of the bias of a tile and head; `tile_places`, `window_places`: words of the places of a
    tile, and of a window; `token_groups`: column groups of a token that is read, less one.

    Parameters
    ----------
    flow : FlowConfig
    bits : dict of str to int
        Of the settings that all engines have.
    """
    windows = flow.windows
    assert windows is not None
    memories, operands = core_memories(flow), Operands(flow)

    def of(most: int) -> int:
        return max(1, most.bit_length())

    place, bias = ResidualAddUnit(flow).place_bits, of(windows.bias_words)
    return {
        "merges": 1,
        "scored": 1,
        "biased": 1,
        "last_pass": 1,
        "rounds_last": of(flow.engine.max_depth - 1),
        "windows_last": of(windows.image_tokens - 1),
        "side_last": of(windows.image_tokens - 1),
        "first_slots": of(memories["slots"].depth - 1),
        "first_block": of(flow.layers - 1),
        "pass_weights" if flow.streamed else "first_weights": operands.fields["w_addr"],
        "first_preload": operands.fields["preload_addr"],
        "first_layer": ResidualAddUnit(flow).theta_addr_bits + 1,
        "first_head": bits["head_step"],
        "first_head_eps": (2 * (flow.layers + flow.all_heads)).bit_length(),
        "first_table": bits["table_step"],
        "first_bias": bias,
        "first_mask": of(windows.mask_words - 1),
        "first_place": place,
        "first_shifted": place,
        "bias_step": bias,
        "job_words": of(ceil_div(flow.engine.max_tokens, flow.engine.columns) * flow.drain_cycles),
        "tile_places": place,
        "window_places": place,
        "token_groups": bits["groups_last"],
    }


def pass_settings(view: StageView, flow: FlowConfig, bases: PassBases, words: int) -> dict[str, int]:
    """Return the values of `pass_bits`.

    Parameters
    ----------
    view : StageView
    flow : FlowConfig
    bases : PassBases
    words : int
        Words of weights of a block, or of the merging.
    """
    # Of the words of a ring as many as addresses count to.
    ring = {"pass_weights": view.depth * words % (1 << Operands(flow).fields["w_addr"])}
    weights = ring if flow.streamed else {"first_weights": bases.weights}
    shape = TileShape(view, flow.engine.rows, flow.engine.columns)
    job, windows = job_words(shape, flow), view.windows
    side = int(windows**0.5)
    places = ResidualAddUnit(flow).most_groups * (1 + NEIGHBOURS if shape.merges else 1)
    return {
        "merges": int(shape.merges),
        "scored": int(shape.biased and view.attn_mode == "score"),
        "biased": int(shape.biased),
        "last_pass": int(bases.last),
        "rounds_last": 0 if view.chained else view.depth - 1,
        "windows_last": windows - 1,
        "side_last": side - 1,
        "first_slots": bases.slots,
        "first_block": bases.block,
        **weights,
        "first_preload": bases.preload,
        "first_layer": bases.layer,
        "first_head": bases.head,
        "first_head_eps": head_eps(flow) + bases.head_eps,
        "first_table": bases.table,
        "first_bias": bases.bias,
        "first_mask": bases.mask,
        "first_place": bases.place,
        "first_shifted": bases.shifted,
        "bias_step": bias_words(shape, flow) if shape.biased else 0,
        "job_words": job if shape.biased else 0,
        "tile_places": places,
        "window_places": shape.tiles * places,
        "token_groups": shape.norm_groups // (NEIGHBOURS if shape.merges else 1) - 1,
    }


def job_words(shape: TileShape, flow: FlowConfig) -> int:
    """Return the words of scores of a tile and head, and so of their bias, and of a tile's masks.

    Parameters
    ----------
    shape : TileShape
    flow : FlowConfig
    """
    return shape.key_groups * flow.drain_cycles


def bias_words(shape: TileShape, flow: FlowConfig) -> int:
    """Return the words of the bias of a block: of each tile, of each head; of a table one of each head.

    Parameters
    ----------
    shape : TileShape
    flow : FlowConfig
    """
    if flow.bias_window:
        return shape.config.num_heads
    return shape.tiles * shape.config.num_heads * job_words(shape, flow)
