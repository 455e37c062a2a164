"""Slot tables that are found already, and those that are sought where there is none, and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import BivitError, check
from ..flow.config import FlowConfig
from ..flow.machine import load_memories
from ..flow.presets import FLOW_ENGINES
from ..flow.settings import table_words
from ..flow.streams import Stream, TileShape
from ..flow.table import SlotTable
from ..network.config import ModelConfig, ViTConfig
from ..network.presets import preset
from ..network.stage_view import StageView
from ..system.files import read_json
from ..system.kept_text import cached_text, content_key
from ..system.sources import PACKAGE, sources_hash
from ..timing.plan import Edge, plan_of
from ..timing.replay_state import FINISHED, Plan, new_state
from ..timing.trace import trace
from ..timing.walk import UNTRACED, replay
from .greedy import block_table
from .search import search
from .verify import verify

#: The file of tables: a list of `entry`.
TABLES = Path(__file__).parent / "tables" / "tables.json"
#: Tables that are sought and kept, at most.
_KEPT = 256
#: Letters of the streams in a table's text, in the order of their numbers.
_LETTERS = "scpfhq"
#: An edge that is never in the way, while tables are compared.
_QUICK = Edge(embed=1, tail=1, classify=1, banks=16)
#: Blocks of an image while tables are compared, of one from which a block's table is taken, and of one that is verified
#: with it.
_SHORT, _DEEP, _FEW = 4, 7, 2
#: Images of each lane meanwhile.
_EACH = 4
#: Which streams go first in a block, of those that can go.
_PRIORITIES = ("sqhpcf", "csphqf", "qscphf", "cspqhf", "scpqhf", "sqphcf", "pcshfq", "hfpcsq")


def key_of(config: ViTConfig, flow: FlowConfig) -> dict[str, Any]:
    """Return what a table is for: sizes of a block and modes, array, widths and depths.

    Where weights come from is no part of it: lanes take turns in the same way.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    """
    names = ("num_tokens", "embed_dim", "hidden_dim", "num_heads", "norm_mode", "qk_mode", "attn_mode")
    dense = ("dense_patches", "dense_channels", "patch_slots", "products_per_dsp")
    streamed = ("weights", "ring_words", "memory_bits", "edge_weights", "patch_weights")
    beside = ("engine", *dense, "load_banks", *streamed, "windows", "block_memories", "lut_memories")
    widths = {field.name: getattr(flow, field.name) for field in fields(flow) if field.name not in beside}
    biased = TileShape(config, flow.engine.rows, flow.engine.columns).biased
    chained = not isinstance(config, StageView) or config.chained
    return {name: getattr(config, name) for name in names} | {
        "rows": flow.engine.rows,
        "columns": flow.engine.columns,
        **widths,
        # Rows are looked up, and biases are added, which takes some cycles.
        **({"windows": True, "biased": biased, "chained": chained} if flow.windows else {}),
    }


def table_of(config: ViTConfig, flow: FlowConfig, *, tries: int = 20, seed: int = 1) -> SlotTable:
    """Return the table that is shipped for a network on an engine, or one that is sought, once for all processes.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    tries, seed : int
        Of the search.

    Raises
    ------
    BivitError
        When every table locks up, or the engine's memory is too small for the table.
    """
    key = key_of(config, flow)
    found = next((read_table(one) for entry in _entries() for one in tables_in(entry) if one["key"] == key), None)
    table = found or _kept(config, flow, tries=tries, seed=seed)
    words, room = len(table_words(table)), load_memories(flow)["slots"].depth
    check(
        words <= room,
        f"the engine is too small: its memory slots holds {room} words, the network's table has {words}; raise "
        "program_words",
    )
    return table


def _kept(config: ViTConfig, flow: FlowConfig, *, tries: int, seed: int) -> SlotTable:
    """Seek a table, or return the one that the same search has found before."""
    key = content_key(key_of(config, flow), asdict(flow), tries, seed, sources_hash([PACKAGE / "sim"]))

    def seek() -> str:
        return json.dumps(entry(config, flow, sought(config, flow, tries=tries, seed=seed)))

    return read_table(json.loads(cached_text("tables", key, seek, _KEPT)))


def shipped_cycles(config: ModelConfig, flow: FlowConfig) -> tuple[int, float] | None:
    """Return the cycles of one image, and of an image among others, of a preset on a named engine; else None.

    What is shipped is what the cycle model gives (`make_tables`); nothing needs to be replayed.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
    """
    for entry in _entries():
        if FLOW_ENGINES[entry["engine"]] == flow and preset(entry["net"]) == config:
            return entry["single"], entry["interval"]
    return None


def sought(config: ViTConfig, flow: FlowConfig, *, tries: int, seed: int = 1, verified: bool = True) -> SlotTable:
    """Return the best table that is found: of a tile for several images in flight, of a block for one.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    tries, seed : int
        As of `search`; one image has but a few tables.
    verified : bool
        Whether it is checked without the model that found it, which takes as long; not where it is only compared.

    Raises
    ------
    BivitError
        When every table locks up.
    """
    alone = isinstance(config, StageView) and not config.chained
    short = replace(config, depth=1 if alone else _SHORT)
    plan = _plan(short, flow)

    def rate(table: SlotTable) -> float | None:
        return steady_cycles(short, flow, table, edge=_QUICK, each=_EACH)

    if flow.images > 1:
        found = search(TileShape(config, flow.engine.rows, flow.engine.columns), plan, rate, tries=tries, seed=seed)
        best = found and found[0]
    else:
        # Behind a block comes the next one, or the next window's.
        deep = _plan(short, flow, _DEEP + 1) if alone else _plan(replace(config, depth=_DEEP), flow)
        rated = [(rate(table) or float("inf"), number, table) for number, table in enumerate(_block_tables(deep))]
        best = min(rated)[2] if rated and min(rated)[0] < float("inf") else None
    check(
        best is not None,
        "every table that was tried locks up on this engine; give its rings more slots: "
        f"{', '.join(f'{name} = {value}' for name, value in key_of(config, flow).items() if name.endswith('_slots'))}",
    )
    assert best is not None
    if verified:
        # Not by the model that found it: operands, rings, drain and row writer from the cycles of the slots alone. A
        # table of a block has one behind another, and one of the next image.
        few = short if alone or flow.images > 1 else replace(config, depth=_FEW)
        verify(few, flow, trace(plan_of(few, flow, best, flow.images + 1, edge=_QUICK)))
    return best


def steady_cycles(
    config: ViTConfig, flow: FlowConfig, table: SlotTable, *, edge: Edge | None = None, each: int = 12
) -> float | None:
    """Return the cycles an image takes when others are before and behind it, or None where the table locks up.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    table : SlotTable
    edge : Edge, optional
        In place of the engine's own.
    each : int
        Images that each lane works on; those of the first quarter let the edge fall into step.
    """
    lanes = flow.images
    plan = plan_of(config, flow, table, each * lanes, edge=edge)
    state = new_state(plan)
    if replay(state, plan, UNTRACED) < 0:
        return None
    finished, first, last = state.images[FINISHED], each // 4 * lanes, (each - 1) * lanes
    return float(finished[last] - finished[first]) / (last - first)


def entry(config: ViTConfig, flow: FlowConfig, table: SlotTable) -> dict[str, Any]:
    """Return a table as it is shipped.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    table : SlotTable
    """
    runs = ((_LETTERS[stream], len(list(same))) for stream, same in groupby(table.slots))
    text = "".join(letter if count == 1 else f"{count}{letter}" for letter, count in runs)
    return {"key": key_of(config, flow), "slots": text, "lag": [table.lag[stream] for stream in Stream]}


def read_table(shipped: dict[str, Any]) -> SlotTable:
    """Return the table of an `entry`.

    Parameters
    ----------
    shipped : dict
    """
    slots, count = list[Stream](), ""
    for letter in shipped["slots"]:
        if letter.isdigit():
            count += letter
        else:
            slots += [Stream(_LETTERS.index(letter))] * int(count or 1)
            count = ""
    return SlotTable(tuple(slots), dict(zip(Stream, shipped["lag"], strict=True)))


def tables_in(shipped: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tables of what is shipped for a network on an engine, an `entry` each: on one with windows, of passes.

    Parameters
    ----------
    shipped : dict
    """
    return shipped.get("passes", [shipped])


@cache
def _entries() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = read_json(TABLES, "the shipped slot tables")
    return entries


def _plan(config: ViTConfig, flow: FlowConfig, images: int = 2) -> Plan:
    empty = SlotTable(tuple(Stream), dict.fromkeys(Stream, 0))
    return plan_of(config, flow, empty, images, edge=_QUICK)


def _block_tables(plan: Plan) -> Iterator[SlotTable]:
    for letters in _PRIORITIES:
        try:
            yield block_table(plan, [Stream(_LETTERS.index(letter)) for letter in letters])
        except BivitError:
            continue  # with this priority nothing can go on, or blocks are not alike
