"""Memories of a dataflow engine that the load stream fills: their numbers, and those that no unit describes."""

from __future__ import annotations

from ..engine.memories import TABLE_BITS, TABLE_WORDS
from ..engine.pipeline import OPERAND_CYCLES
from ..engine.words import WORD, LoadMemory
from ..network.formats import EPS_BITS
from .config import FlowConfig
from .operation import Operands

#: Loadable memories by number on the load bus.
LOADED = (
    "settings",
    "slots",
    "weights",
    "preload",
    "sign_norm",
    "head_norm",
    "residual",
    "tables",
    "norm_eps",
    "dense_weights",
    "patch_params",
    "positions",
    "head_bias",
    "last_eps",
    "passes",
    "places",
    "bias",
    "masks",
    "patch_places",
    "patch_norm",
    "patch_eps",
    "parts",
)

#: Slots of the table in a word, and bits of a slot.
SLOTS_PER_WORD, SLOT_BITS = 2, 3


def loaded(flow: FlowConfig, name: str, width: int, depth: int, read_cycles: int = 1) -> LoadMemory:
    """Return a loadable memory of an engine by its name.

    Parameters
    ----------
    flow : FlowConfig
        Gives the number of banks.
    name : str
        One of `LOADED`.
    width, depth : int
        Bits of a word, words.
    read_cycles : int
        From an address to its word.
    """
    return LoadMemory(LOADED.index(name), width, depth, flow.load_banks, flow.style_of(name), read_cycles)


def core_memories(flow: FlowConfig) -> dict[str, LoadMemory]:
    """Return the loadable memories of the array and of the slots, by name; without `weights` where these are streamed.

    settings: one 64-bit word a setting; slots: two slots of the table, the first one least significant;
    weights: 64 bits a column; preload: start of a column's sums; tables: 65 words a head, Tau and then Exp[1] to
    Exp[64], only where there is a softmax; norm_eps: Eps of the norms, then, where there is a HeadNorm, of q and k, see
    `head_eps`.

    Parameters
    ----------
    flow : FlowConfig
    """
    engine, operands = flow.engine, Operands(flow)
    columns, heads = engine.columns, flow.all_heads
    cycles = OPERAND_CYCLES[engine.fabric]
    weights = loaded(flow, "weights", columns * WORD, operands.weight_depth, cycles)
    return {
        "settings": loaded(flow, "settings", 64, 128),
        "slots": loaded(flow, "slots", SLOTS_PER_WORD * SLOT_BITS, engine.program_words),
        **({} if flow.streamed else {"weights": weights}),
        "preload": loaded(flow, "preload", columns * engine.acc_bits, operands.preload_depth),
        **({"tables": loaded(flow, "tables", TABLE_BITS, heads * TABLE_WORDS)} if flow.has_softmax else {}),
        "norm_eps": loaded(flow, "norm_eps", EPS_BITS, head_eps(flow) + (2 * heads if flow.has_head_norm else 0)),
    }


def head_eps(flow: FlowConfig) -> int:
    """Return the word of the first Eps of q and k: behind those of two norms a block.

    Parameters
    ----------
    flow : FlowConfig
    """
    return 2 * flow.layers
