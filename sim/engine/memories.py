"""Loadable memories of an engine: what is in a word, how wide it is and how many words a model needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..network.formats import DENSE_WEIGHT_BITS, EPS_BITS, EXP_BITS, HEAD_BIAS_BITS, PATCH_BIAS_BITS, PATCH_SCALE_BITS
from .words import WORD, LoadMemory, ceil_div

if TYPE_CHECKING:
    from .config import EngineConfig

TABLE_WORDS = WORD + 1  # of a head: Tau, then Exp[1] to Exp[64]
TABLE_BITS = EXP_BITS + 1  # word 0 of a table holds Tau, up to 2^16

#: Settings by word of the memory `settings`: name and bits.
SETTINGS = (("strip_beats", 17), ("strips", 8), ("network", 32))

#: Bits of the addresses of parameters that have one, in instructions and in the counters that walk on from there.
ADDRESS_BITS = {
    "program": 16,
    "weights": 20,
    "preload": 16,
    "sign_norm": 16,
    "head_norm": 16,
    "residual": 16,
    "tables": 16,
    "dense_weights": 20,
    "positions": 20,
}

#: Width of TUSER beside a logit, the number of the image modulo 2^16.
TAG_BITS = 16


def load_memories(engine: EngineConfig) -> dict[str, LoadMemory]:
    """Return every loadable memory of `engine` by name, ids in order.

    A word is an array of structs, one a lane (or a column, a dense lane), lane 0 and a struct's first field in the
    least significant bits; its fields are:

    settings: one 64-bit word a setting; program, edge_program: one instruction; weights: 64 bits a column; preload: an
    accumulator start a column; sign_norm: Theta a lane; head_norm: Theta, Scale a lane; residual: Scale, Bias a lane;
    tables: 65 words a head, Tau and then Exp[1] to Exp[64]; dense_weights: int8 a dense lane;
    patch_params: B, S a lane; positions: P a lane; head_bias: int32 a lane.
    """
    from .commands import CORE, EDGE

    f = engine.formats
    lanes, columns = engine.lanes, engine.columns
    d, m, depth = engine.max_embed_dim, engine.max_hidden_dim, engine.max_depth
    words_d, words_m = ceil_div(d, WORD), ceil_div(m, WORD)
    groups_d, groups_m = max(ceil_div(d, columns), engine.max_heads), ceil_div(m, columns)
    groups_h = value_groups(engine)  # of q, k or v
    dense_groups_d = ceil_div(d, engine.dense_lanes)
    dense_groups_c = ceil_div(engine.max_classes, engine.dense_lanes)
    shapes = {
        "settings": (64, 16),
        "program": (CORE.bits, engine.program_words),
        "weights": (columns * WORD, depth * ((3 * groups_h + groups_d + groups_m) * words_d + groups_d * words_m)),
        "preload": (columns * engine.acc_bits, depth * (3 * groups_h + groups_m + engine.max_heads)),
        "sign_norm": (lanes * f.theta_bits, depth * 2 * d // lanes),
        "head_norm": (lanes * (f.theta_bits + f.qk_scale_bits), depth * 2 * d // lanes),
        "residual": (lanes * (f.scale_bits + f.residual_bits), depth * 2 * d // lanes),
        "tables": (TABLE_BITS, depth * engine.max_heads * TABLE_WORDS),
        "dense_weights": (
            engine.dense_lanes * DENSE_WEIGHT_BITS,
            dense_groups_d * engine.max_patch_dim + dense_groups_c * 2 * d,
        ),
        "patch_params": (lanes * (PATCH_BIAS_BITS + PATCH_SCALE_BITS), d // lanes),
        "positions": (lanes * f.residual_bits, engine.max_tokens * d // lanes),
        "norm_eps": (EPS_BITS, depth * (2 + 2 * engine.max_heads) + 1),
        "head_bias": (
            lanes * HEAD_BIAS_BITS,
            ceil_div(engine.max_classes, engine.dense_lanes) * engine.dense_lanes // lanes,
        ),
        "edge_program": (EDGE.bits, engine.edge_words),
    }
    return {name: LoadMemory(i, width, words) for i, (name, (width, words)) in enumerate(shapes.items())}


def value_groups(engine: EngineConfig) -> int:
    """Groups of C channels of q, k or v: never more than one head in a group, which part of a group may thus end.

    Heads of 24 channels take two groups of 16 columns each, so what counts is the head's width that wastes most.
    """
    widths = range(engine.lanes, min(WORD, engine.max_embed_dim) + 1, engine.lanes)
    heads = {width: min(engine.max_heads, engine.max_embed_dim // width) for width in widths}
    most = max(count * ceil_div(width, engine.columns) for width, count in heads.items())
    return max(most, ceil_div(engine.max_embed_dim, engine.columns), engine.max_heads)
