"""Settings of a dataflow engine's core: the numbers of a network that its slots and units need at all times."""

from __future__ import annotations

from ..engine.memories import TABLE_WORDS
from ..engine.words import LoadMemory, ceil_div
from ..errors import check
from ..network.config import ViTConfig
from ..network.stage_view import StageView
from .config import FlowConfig
from .head_norm import HeadNormUnit
from .memories import SLOT_BITS, core_memories, loaded
from .operation import Operands
from .pass_settings import PassBases, pass_bits, pass_settings
from .residual_add import ResidualAddUnit
from .streams import Stream, TileShape
from .table import SlotTable

#: Streams whose column operand is weights.
WEIGHTED = (Stream.PROJ, Stream.FC1, Stream.FC2, Stream.QKV)
#: The parts of a block's streamed weights, in the order in which they are needed, read, and lie in the memory.
WEIGHT_PARTS = (Stream.QKV, Stream.PROJ, Stream.FC1, Stream.FC2)
#: Settings of heads, which a patch merging has not.
_OF_HEADS = (
    *("head_step", "head_eps_step", "table_step", "heads_last", "head_groups_last", "key_groups_last", "head_words"),
    *("head_dim", "table_jobs_last"),
)
#: Most slots that a stream may begin late.
_LAG_BITS = 16


def setting_bits(flow: FlowConfig) -> dict[str, int]:
    """Return the settings by name, in the order of their words, and their bits.

    `skips`: tiles may be left out in which no stream has anything to do. Of a stream: `last` its last operation of a
    tile, `steps` of each, `lag` slots that it begins late, `preload` and `weights` the first word of a block. Steps
    from one block to the next: `weight_step`, `preload_step`, `head_step` (parameters of HeadNorm), `head_eps_step`,
    `table_step`; `layer_step` from one norm, or layer, to the next one.

    Parameters
    ----------
    flow : FlowConfig
    """
    engine, operands, memories = flow.engine, Operands(flow), core_memories(flow)
    head_words = HeadNormUnit(flow).load_memories["head_norm"].depth

    def bits(most: int) -> int:
        return max(1, most.bit_length())

    weight, preload = bits(operands.weight_depth), bits(operands.preload_depth)
    operations = max(3 * operands.value_groups, ceil_div(engine.max_hidden_dim, engine.columns), operands.key_words)
    found = {"table_last": bits(memories["slots"].depth - 1), "skips": 1}
    for stream in Stream:
        name = stream.name.lower()
        found |= {f"{name}_last": bits(operations - 1), f"{name}_steps": operands.fields["steps"]}
        found |= {f"{name}_lag": _LAG_BITS, f"{name}_preload": preload}
        found |= {f"{name}_weights": weight} if stream in WEIGHTED else {}
    found |= {
        "weight_step": weight,
        "preload_step": preload,
        "layer_step": bits(ResidualAddUnit(flow).row_words),
        "head_step": bits(head_words),
        "head_eps_step": bits(2 * engine.max_heads),
        "table_step": bits(flow.all_heads * TABLE_WORDS),
        "tiles_last": bits(engine.max_tiles - 1),
        "rows_last": engine.rows.bit_length(),
        "depth_last": bits(flow.layers - 1),
        "groups_last": bits(ceil_div(flow.norm_dim, engine.columns) - 1),
        "heads_last": bits(engine.max_heads - 1),
        "head_groups_last": bits(operands.value_groups - 1),
        "key_groups_last": bits(ceil_div(engine.max_tokens, engine.columns) - 1),
        "head_words": bits(HeadNormUnit(flow).most_words),
        "tokens": engine.max_tokens.bit_length(),
        "embed_dim": flow.norm_dim.bit_length(),
        "head_dim": HeadNormUnit(flow).widths.channels_bits,
        "table_jobs_last": bits(engine.max_tiles * engine.max_heads - 1),
        "softmax": 1,
        "head_norm": 1,
        "mean": 1,
    }
    return found | (pass_bits(flow, found) if flow.windows else {})


def passes_memory(flow: FlowConfig) -> LoadMemory:
    """Return the memory of the settings of all passes, one a word, of an engine with windows.

    Parameters
    ----------
    flow : FlowConfig
    """
    assert flow.windows is not None
    bits = setting_bits(flow)
    return loaded(flow, "passes", max(bits.values()), flow.windows.passes * len(bits))


def settings_of(
    config: ViTConfig, flow: FlowConfig, table: SlotTable, bases: PassBases | None = None
) -> dict[str, int]:
    """Return the settings of a network and its slot table, by name.

    Parameters
    ----------
    config : ViTConfig
        Of an engine with windows a pass, as a `StageView`.
    flow : FlowConfig
    table : SlotTable
    bases : PassBases, optional
        Of a pass.

    Raises
    ------
    BivitError
        When a value does not fit its bits.
    """
    shape = TileShape(config, flow.engine.rows, flow.engine.columns)
    weights, preload = weight_bases(shape, flow), preload_bases(shape)
    residual, head, operands = ResidualAddUnit(flow), HeadNormUnit(flow), Operands(flow)
    head_words = head.words(config.head_dim)
    slots = bases.slots if bases else 0
    found = {"table_last": slots + len(table_words(table)) - 1, "skips": int(table.of_a_tile(shape))}
    for stream in Stream:
        name = stream.name.lower()
        found |= {f"{name}_last": shape.operations[stream] - 1, f"{name}_steps": shape.steps[stream]}
        found |= {f"{name}_lag": table.lag[stream], f"{name}_preload": preload[stream]}
        found |= {f"{name}_weights": weights[stream]} if stream in WEIGHTED else {}
    found |= {
        "weight_step": weight_words(shape),
        "preload_step": sum(shape.work.values()),
        "layer_step": shape.norm_groups * residual.parts,
        "head_step": 2 * config.num_heads * head_words,
        "head_eps_step": 2 * config.num_heads,
        "table_step": config.num_heads * TABLE_WORDS,
        "tiles_last": shape.tiles - 1,
        "rows_last": shape.tile_rows[-1],
        "depth_last": (bases.block if bases else 0) + config.depth - 1,
        "groups_last": shape.norm_groups - 1,
        "heads_last": config.num_heads - 1,
        "head_groups_last": shape.head_groups - 1,
        "key_groups_last": shape.key_groups - 1,
        "head_words": head_words,
        "tokens": config.num_tokens,
        "embed_dim": config.embed_dim,
        "head_dim": config.head_dim,
        "table_jobs_last": shape.tiles * config.num_heads - 1,
        "softmax": int(shape.softmax),
        "head_norm": int(shape.head_norm),
        "mean": int(config.norm_mode == "mean"),
    }
    if shape.merges:
        found |= dict.fromkeys(_OF_HEADS, 0)
    if bases is not None:
        assert isinstance(config, StageView)
        found |= pass_settings(config, flow, bases, found["weight_step"])
    if flow.streamed and not flow.weight_ring:
        check(
            2 * found["weight_step"] <= operands.weight_depth,
            f"the engine is too small: its memory weights holds {operands.weight_depth} words, two blocks of the "
            f"network have {2 * found['weight_step']}",
        )
    for name, bits in setting_bits(flow).items():
        check(
            0 <= found[name] < 1 << bits,
            f"the engine is too small: {name} must be 0 to {(1 << bits) - 1}, the network has {found[name]}",
        )
    return found


def weighted(flow: FlowConfig) -> tuple[Stream, ...]:
    """Return the streams whose column operand is weights, in the order in which these lie in a block.

    Parameters
    ----------
    flow : FlowConfig
        With a ring: as they are read, one part behind the other.
    """
    return WEIGHT_PARTS if flow.weight_ring else WEIGHTED


def weight_bases(shape: TileShape, flow: FlowConfig) -> dict[Stream, int]:
    """Return the first word of each stream's weights in those of a block: operation after operation, step after step.

    Parameters
    ----------
    shape : TileShape
    flow : FlowConfig
    """
    return _bases({stream: shape.work.get(stream, 0) * shape.steps[stream] for stream in weighted(flow)})


def weight_words(shape: TileShape) -> int:
    """Return the words of a block's weights.

    Parameters
    ----------
    shape : TileShape
    """
    return sum(shape.work.get(stream, 0) * shape.steps[stream] for stream in WEIGHTED)


def preload_bases(shape: TileShape) -> dict[Stream, int]:
    """Return the first of each stream's starts in those of a block, one an operation.

    Parameters
    ----------
    shape : TileShape
    """
    return _bases({stream: shape.work.get(stream, 0) for stream in Stream})


def table_words(table: SlotTable) -> list[int]:
    """Return the words of the slot memory: two slots each, the first one least significant.

    A table of an odd number of slots is written twice.

    Parameters
    ----------
    table : SlotTable
    """
    slots = [int(stream) for stream in table.slots] * (1 + len(table.slots) % 2)
    return [one | other << SLOT_BITS for one, other in zip(slots[::2], slots[1::2], strict=True)]


def _bases(sizes: dict[Stream, int]) -> dict[Stream, int]:
    found, at = {}, 0
    for stream, size in sizes.items():
        found[stream], at = at, at + size
    return found
