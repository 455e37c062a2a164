"""What the resources of each hardware unit depend on: its memories, its multipliers, and the features of its logic.

The logic's look-up tables and flip-flops are a weighted sum of a unit's features; the weights are fitted to synthesis
results by `hw.synthesis.calibrate` and kept in `sim.estimate.constants`. Memories and multipliers are counted by rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..engine.commands import CORE, DELAY_BITS, EDGE, OPCODE_BITS, Process
from ..engine.config import EngineConfig
from ..engine.memories import TABLE_BITS, TAG_BITS, Y_BITS, bit_memories, value_groups, z_bits
from ..engine.norm_params import NormKind, NormParams, norm_params
from ..engine.words import ceil_div
from ..network.formats import EXP_BITS, HEAD_BIAS_BITS, PATCH_BIAS_BITS, PATCH_SCALE_BITS
from .ram import Ram, loadable

#: Largest signed operands of a product that the hardware writes as one (`hw.parts.arithmetic.BLOCK_BITS`).
LIMB_BITS = (27, 18)


#: Operands of a multiplication, as signed widths, the wider one first.
Product = tuple[int, int]


@dataclass(frozen=True)
class UnitModel:
    """What a unit is made of.

    Parameters
    ----------
    features : function
        Names and sizes of what its logic grows with.
    rams : function
        Its memories by name.
    products : function
        Its multiplications, one an entry.
    loadables : tuple of str
        Names of those loadable memories that are inside it.
    """

    features: Callable[[EngineConfig], dict[str, float]]
    rams: Callable[[EngineConfig], dict[str, Ram]] | None = None
    products: Callable[[EngineConfig], list[Product]] | None = None
    loadables: tuple[str, ...] = ()

    def all_rams(self, engine: EngineConfig) -> dict[str, Ram]:
        """All memories, loadable ones included."""
        memories = engine.load_memories
        own = self.rams(engine) if self.rams else {}
        return own | {name: loadable(memories[name]) for name in self.loadables}

    def all_products(self, engine: EngineConfig) -> list[Product]:
        """All multiplications."""
        return self.products(engine) if self.products else []


def weighted_sum(features: Mapping[str, float], weights: Mapping[str, float] | None) -> float | None:
    """Return the sum of features times weights; None when a weight is not known.

    >>> weighted_sum({"unit": 1, "lane": 8}, {"unit": 20.0, "lane": 3.5})
    48.0
    >>> weighted_sum({"unit": 1}, {}) is None
    True
    """
    weights = weights or {}
    if any(name not in weights for name in features):
        return None
    return float(sum(weights[name] * size for name, size in features.items()))


def limbs(bits: int, limit: int) -> list[int]:
    """Signed widths of the limbs of a signed operand, as `hw.parts.arithmetic.Multiply` cuts it.

    >>> limbs(30, 27)
    [27, 4]
    """
    widths = []
    while bits > limit:
        widths.append(limit)
        bits -= limit - 1
    return [*widths, bits]


def piecewise(a_bits: int, b_bits: int) -> list[Product]:
    """Partial products of an `hw.parts.arithmetic.Multiply` with operands of these signed widths."""
    return [(a, b) for a in limbs(a_bits, LIMB_BITS[0]) for b in limbs(b_bits, LIMB_BITS[1])]


def dense_acc_bits(engine: EngineConfig) -> int:
    """Signed width of the dense unit's sums, as `hw.units.dense.dense_acc_bits`, which gives the proof."""
    row = engine.max_embed_dim * ((3 << engine.formats.head_frac_bits) // 2 + 2)
    return max(255 * 128 * engine.max_patch_dim, 256 * row).bit_length() + 1


def _unit(engine: EngineConfig) -> dict[str, float]:
    return {"unit": 1}


def _program_ram(engine: EngineConfig, process: Process) -> dict[str, Ram]:
    # The longest operation does not fill its word.
    bits = OPCODE_BITS + DELAY_BITS + max(command.width() for command in (*process.issued, *process.own))
    return {"program": replace(loadable(engine.load_memories[process.memory]), read_bits=bits)}


def _matmul_features(engine: EngineConfig) -> dict[str, float]:
    rows, columns, bits = engine.rows, engine.columns, engine.acc_bits
    return {
        "unit": 1,
        f"dot_{engine.fabric}": rows * columns,
        "dot_bit": rows * columns * bits,
        f"operand_{engine.fabric}": rows + columns,
        "column_bit": columns * bits,
    }


def _bit_store_features(engine: EngineConfig) -> dict[str, float]:
    memories = bit_memories(engine)
    return {
        "unit": 1,
        "lane": engine.lanes,
        "row": engine.rows,
        "column": engine.columns,
        "slot": sum(memory.slots for memory in memories.values()),
    }


def _bit_store_rams(engine: EngineConfig) -> dict[str, Ram]:
    return {
        f"{name}_bits": Ram(shape.slots * engine.lanes, shape.depth, write_bits=engine.lanes)
        for name, shape in bit_memories(engine).items()
    }


def _value_sums_rams(engine: EngineConfig) -> dict[str, Ram]:
    return {"sums": Ram(engine.columns * engine.acc_bits, value_groups(engine), readers=2)}


def _norm_features(kind: NormKind) -> Callable[[EngineConfig], dict[str, float]]:
    def features(engine: EngineConfig) -> dict[str, float]:
        p = norm_params(engine, kind)
        return {
            "unit": 1,
            "lane": p.lanes,
            "lane_sum_bit": p.lanes * p.s1_bits,
            "root_bit_squared": p.v_bits**2,
            "row_bit": p.s1_bits + p.s2_bits + p.v_bits,
        }

    return features


def _norm_rams(kind: NormKind) -> Callable[[EngineConfig], dict[str, Ram]]:
    def rams(engine: EngineConfig) -> dict[str, Ram]:
        p = norm_params(engine, kind)
        return {f"{kind}_rows": Ram(p.s1_bits + p.r_bits, engine.rows, readers=2 if kind == "sign_norm" else 1)}

    return rams


def _norm_products(kind: NormKind) -> Callable[[EngineConfig], list[Product]]:
    def products(engine: EngineConfig) -> list[Product]:
        p: NormParams = norm_params(engine, kind)
        lane = piecewise(p.x_bits, max(p.x_bits, p.channels_bits + 1)) + piecewise(p.r_bits + 1, p.theta_bits)
        if p.scale_bits:
            lane += piecewise(p.value_bits, p.scale_bits + 1)
        return lane * p.lanes + piecewise(p.s2_bits + 1, p.channels_bits + 1) + piecewise(p.s1_bits, p.s1_bits)

    return products


def _norm(kind: NormKind) -> UnitModel:
    return UnitModel(_norm_features(kind), _norm_rams(kind), _norm_products(kind), (kind,))


def _attention_features(engine: EngineConfig) -> dict[str, float]:
    return {"unit": 1, "lane": engine.lanes, "sum_bit": z_bits(engine) + 1}


def _attention_rams(engine: EngineConfig) -> dict[str, Ram]:
    row_chunks = ceil_div(engine.max_tokens, engine.columns) * engine.tile_chunks
    depth = engine.rows << (row_chunks - 1).bit_length()
    return {
        "scores": Ram(engine.lanes * engine.score_bits, depth),
        "tops": Ram(engine.score_bits, engine.rows),
        "limits": Ram(EXP_BITS + 1, engine.rows),
    }


def _attention_products(engine: EngineConfig) -> list[Product]:
    return piecewise(z_bits(engine) + 1, TABLE_BITS + 1)


def _dense_features(engine: EngineConfig) -> dict[str, float]:
    bits = dense_acc_bits(engine)
    return {
        "unit": 1,
        "dense_lane": engine.dense_lanes,
        "dense_lane_bit": engine.dense_lanes * bits,
        "lane": engine.lanes,
        "lane_bit": engine.lanes * (max(bits + PATCH_SCALE_BITS - 1, PATCH_BIAS_BITS) + 1),
    }


def _dense_products(engine: EngineConfig) -> list[Product]:
    # Addresses: a token times the words of a token, in x and in the positions.
    addresses = [(13, 9), (13, 8)]
    requantizer = [(dense_acc_bits(engine), PATCH_SCALE_BITS)] * engine.lanes
    return [(16, 8)] * engine.dense_lanes + requantizer + addresses


def _head_features(engine: EngineConfig) -> dict[str, float]:
    p = norm_params(engine, "sign_norm")
    sum_bits = engine.formats.residual_bits + (engine.max_tokens - 1).bit_length()
    return {"unit": 1, "lane": engine.lanes, "lane_bit": engine.lanes * sum_bits, "row_bit": p.s1_bits + p.r_bits}


def _head_products(engine: EngineConfig) -> list[Product]:
    p, f = norm_params(engine, "sign_norm"), engine.formats
    scaled = piecewise(f.residual_bits - f.norm_shift, engine.max_embed_dim.bit_length() + 1)
    # Only the bits of y and those below are kept of the product with Q, whose limbs are 17 bits apart.
    kept = f.head_m - f.head_frac_bits + Y_BITS
    step = LIMB_BITS[1] - 1
    q_limbs = limbs(f.head_m + 2, LIMB_BITS[1])
    normalised = [(a, b) for a in limbs(p.s1_bits + 1, LIMB_BITS[0]) for b in q_limbs]
    trimmed = [(min(a, kept - step * (k % len(q_limbs))), b) for k, (a, b) in enumerate(normalised)]
    return scaled + trimmed


def _logits_rams(engine: EngineConfig) -> dict[str, Ram]:
    return {"logits": Ram(engine.lanes * HEAD_BIAS_BITS, max(2, ceil_div(engine.max_classes, engine.lanes)))}


def _queue_features(engine: EngineConfig) -> dict[str, float]:
    return {"unit": 1, "level_bit": engine.queue_logits.bit_length()}


def _queue_rams(engine: EngineConfig) -> dict[str, Ram]:
    # The logit, its tag and TLAST; one word is in the register of the reader.
    return {"queue": Ram(HEAD_BIAS_BITS + TAG_BITS + 1, engine.queue_logits - 1)}


def _pixel_rams(engine: EngineConfig) -> dict[str, Ram]:
    beats = engine.max_strip_bytes // engine.pixel_bytes
    return {"strips": Ram(8 * engine.pixel_bytes, (1 << max(1, (beats - 1).bit_length())) + beats)}


def _residual_products(engine: EngineConfig) -> list[Product]:
    return [(engine.acc_bits, engine.formats.scale_bits)] * engine.lanes


def _x_rams(engine: EngineConfig) -> dict[str, Ram]:
    width = engine.lanes * engine.formats.residual_bits
    return {"x": Ram(width, (engine.max_tokens + 1) * engine.max_row_chunks)}


def _head_buffer_rams(engine: EngineConfig) -> dict[str, Ram]:
    return {"head_buffer": Ram(engine.lanes * engine.acc_bits, engine.rows * engine.chunks_per_word)}


def _loadable(name: str) -> UnitModel:
    return UnitModel(lambda engine: {"unit": 1, "beat": engine.load_memories[name].beats}, loadables=(name,))


#: Models by unit: those of `hw.engine.Engine` and `hw.datapath.Datapath`.
UNIT_MODELS: dict[str, UnitModel] = {
    "registers": UnitModel(_unit),
    "loader": UnitModel(_unit),
    "settings": UnitModel(_unit),
    "run": UnitModel(_unit),
    "edge": UnitModel(_unit, lambda engine: _program_ram(engine, EDGE)),
    "core": UnitModel(_unit, lambda engine: _program_ram(engine, CORE), loadables=("norm_eps",)),
    "pixel_buffer": UnitModel(lambda engine: {"unit": 1, "byte": engine.pixel_bytes}, _pixel_rams),
    "dense": UnitModel(
        _dense_features,
        products=_dense_products,
        loadables=("dense_weights", "patch_params", "positions", "head_bias"),
    ),
    "x": UnitModel(lambda engine: {}, _x_rams),
    "sign_norm": _norm("sign_norm"),
    "matmul": UnitModel(_matmul_features),
    "weights": _loadable("weights"),
    "preload": _loadable("preload"),
    "bit_store": UnitModel(_bit_store_features, _bit_store_rams),
    "value_sums": UnitModel(
        lambda engine: {"unit": 1, "column_bit": engine.columns * engine.acc_bits}, _value_sums_rams
    ),
    "head_buffer": UnitModel(lambda engine: {}, _head_buffer_rams),
    "head_norm": _norm("head_norm"),
    "attention_threshold": UnitModel(_attention_features, _attention_rams, _attention_products, loadables=("tables",)),
    "residual_add": UnitModel(
        lambda engine: {"unit": 1, "lane": engine.lanes, "lane_bit": engine.lanes * engine.acc_bits},
        products=_residual_products,
        loadables=("residual",),
    ),
    "head": UnitModel(_head_features, lambda engine: {"y": Ram(Y_BITS, 2 * engine.max_embed_dim)}, _head_products),
    "logits": UnitModel(lambda engine: {"unit": 1, "lane": engine.lanes}, _logits_rams),
    "logits_queue": UnitModel(_queue_features, _queue_rams),
}
