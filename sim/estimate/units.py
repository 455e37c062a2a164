"""The units of an engine: the name of each, in the hardware, in estimates and in synthesis, and its size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

from ..engine.config import Fabric
from ..engine.memories import TAG_BITS
from ..engine.pipeline import OPERAND_CYCLES
from ..engine.words import BEAT_BITS, WORD, LoadMemory, Memory, ceil_div
from ..flow.config import FlowConfig
from ..flow.edge import EdgeUnit
from ..flow.edge_lines import EdgeLinesUnit, Line
from ..flow.head_norm import head_unit
from ..flow.machine import FlowMachine, all_settings
from ..flow.matmul import MatmulUnit
from ..flow.operation import Operands, RowMemory
from ..flow.residual_add import ResidualAddUnit
from ..flow.sign_norm import SignNormUnit
from ..flow.softmax import SoftmaxUnit
from ..flow.weight_stream import WeightStreamUnit
from ..network.formats import DENSE_WEIGHT_BITS, HEAD_BIAS_BITS
from .footprint import Footprint, rams_of
from .ram import Ram, in_blocks, loadable

#: Bits of a logit in the queue: with its tag, and whether it is an image's last.
_LOGIT_BITS = HEAD_BIAS_BITS + TAG_BITS + 1
#: Bits of the counters of cycles and stalls, at the top.
_COUNTER_BITS = 640


def _plain(flow: FlowConfig) -> Footprint:
    """A unit that is the same in every engine."""
    return Footprint({"unit": 1})


def _settings(flow: FlowConfig) -> Footprint:
    return Footprint({"unit": 1, "bit": sum(all_settings(flow).values())})


def _ring(flow: FlowConfig) -> Footprint:
    edge, width = EdgeUnit(flow), flow.engine.pixel_bytes
    bank = Ram(8 * width, edge.ring_words, write_bits=8, style=flow.style_of("ring"))
    address = (edge.ring_words * width - 1).bit_length()
    sizes = {"unit": 1, "byte": width, "bank": edge.patches * width, "address_bit": address}
    # A beat is shifted by any power of two, and a piece of any such size goes anywhere; then a byte is chosen.
    sizes |= {
        "byte_step": width * width.bit_length(),
        "read_lut": edge.patches * 8 * choice_luts(width, flow.engine.fabric),
    }
    return Footprint(sizes, (bank,) * edge.patches)


def _dense(flow: FlowConfig) -> Footprint:
    edge = EdgeUnit(flow)
    blocks, word = edge.patches * edge.patch_blocks, edge.chunk * edge.acc_bits
    loaded = () if flow.patch_streamed else ("dense_weights",)
    read = edge.channels * DENSE_WEIGHT_BITS
    sizes = {"unit": 1, "block": blocks, "word_bit": word, "loaded_bit": read * len(loaded)}
    # What leaves is that of the first patch or of the others.
    chosen = word if edge.patches > 1 else 0
    # So is the word of the classifier, where it is streamed, or that of the patches.
    chosen += read if flow.edge_streamed else 0
    sizes |= {"product": edge.patches * edge.channels, "chosen_bit": chosen}
    # Beside each pair's multiplier is a counter; what parts a chunk's sums is there once.
    pairs = edge.channels * (edge.patches - 1) // 2
    sizes |= {"count_bit": pairs * edge.overflow_bits, "parted_bit": word} if edge.paired else {}
    products = tuple(edge.lane_products)
    if not flow.products_per_dsp:  # made of look-up tables
        sizes["product_bit"] = sum(a * b for a, b in products)
        products = ()
    return Footprint(sizes, loaded_rams(flow, *loaded), products)


def _dense_out(flow: FlowConfig) -> Footprint:
    edge = EdgeUnit(flow)
    names = ("patch_params", "head_bias") if flow.edge_streamed else ("patch_params", "positions", "head_bias")
    loaded = sum(edge.load_memories[name].width for name in names)
    loaded += EdgeLinesUnit(flow).width(Line.POSITIONS) if flow.edge_streamed else 0
    sizes = {"unit": 1, "lane_bit": edge.chunk * edge.acc_bits, "loaded_bit": loaded}
    memories = loaded_rams(flow, *names)
    return Footprint(sizes, memories, tuple(edge.chunk_products))


def _last_norm(flow: FlowConfig) -> Footprint:
    edge = EdgeUnit(flow)
    widths, word = edge.widths, edge.side * edge.columns * flow.engine.formats.residual_bits
    sizes = {
        "unit": 1,
        "root_bit_squared": widths.v_bits**2,
        "word_bit": word,
        "pooled_bit": edge.columns * edge.pool_bits,
    }
    memories = edge.memories
    own = rams_of((memories["pooled"], memories["y"]))
    return Footprint(sizes, own + loaded_rams(flow, "last_eps"), tuple(edge.norm_products))


def _slots(flow: FlowConfig) -> Footprint:
    operation, job = sum(Operands(flow).fields.values()), sum(ResidualAddUnit(flow).job.values())
    sizes = {"unit": 1, "field_bit": operation, "job_bit": job, "image": flow.images}
    return Footprint(sizes, loaded_rams(flow, "slots", "norm_eps"))


def _matmul(flow: FlowConfig) -> Footprint:
    sizes = {"unit": 1, "field_bit": sum(Operands(flow).fields.values()), "column_bit": _column_bits(flow)}
    return Footprint(sizes)


def _grid(flow: FlowConfig) -> Footprint:
    rows, columns = flow.engine.rows, flow.engine.columns
    dots = rows * columns
    return Footprint({"dot": dots, "dot_bit": dots * flow.engine.acc_bits, "row": rows, "column": columns})


def _weights(flow: FlowConfig) -> Footprint:
    if flow.streamed:
        memory = MatmulUnit(flow).memories["weights"]
        # Of a word's registers all but the first, which is the memory's own.
        late = (OPERAND_CYCLES[flow.engine.fabric] - 1) * ceil_div(memory.width, BEAT_BITS)
        return Footprint({"unit": 1, "beat": late}, rams_of((memory,)))
    loaded = FlowMachine(flow).load_memories["weights"]
    return Footprint({"unit": 1, "beat": loaded.beats * _registers(loaded)}, loaded_rams(flow, "weights"))


def _fetch(flow: FlowConfig) -> Footprint:
    word, unit = flow.engine.columns * WORD, WeightStreamUnit(flow)
    # Requests and answers have a list of the parts each.
    return Footprint({"unit": 1, "lane": unit.lanes, "word_bit": word}, 2 * loaded_rams(flow, "parts"))


def _edge_lines(flow: FlowConfig) -> Footprint:
    unit = EdgeLinesUnit(flow)
    lines, words = len(unit.lines), sum(unit.width(line) for line in unit.lines)
    sizes = {"line": lines, "lane": lines * WeightStreamUnit(flow).lanes, "word_bit": words}
    return Footprint(sizes, rams_of(unit.ring(line) for line in unit.lines))


def _preload(flow: FlowConfig) -> Footprint:
    memory = FlowMachine(flow).load_memories["preload"]
    bits = memory.width * _registers(memory)
    sizes = {"unit": 1, "beat": memory.beats, "bit": bits, "address_bit": _address_bits(memory)}
    return Footprint(sizes, loaded_rams(flow, "preload"))


def _operands(flow: FlowConfig) -> Footprint:
    unit, rows, columns = MatmulUnit(flow), flow.engine.rows, flow.engine.columns
    memories = {name: memory for name, memory in unit.memories.items() if name not in ("value_sums", "weights")}
    parts = len(RowMemory) * WORD // columns
    sizes = {
        "unit": 1,
        "row": rows,
        "part": rows * parts,
        "column": columns,
        "key_lane": unit.key_banks * columns,
        "value_lane": unit.value_banks * columns,
    }
    return Footprint(sizes, rams_of(memories.values()))


def _value_sums(flow: FlowConfig) -> Footprint:
    columns, ones = flow.engine.columns, flow.engine.rows.bit_length()
    sizes = {"unit": 1, "column_bit": _column_bits(flow), "ones_bit": columns * ones * flow.value_rows}
    return Footprint(sizes, (replace(*rams_of([MatmulUnit(flow).memories["value_sums"]]), rewritten=True),))


def _row_writer(flow: FlowConfig) -> Footprint:
    return Footprint({"unit": 1, "bit": flow.engine.rows * flow.engine.columns})


def _shadow(flow: FlowConfig) -> Footprint:
    word = MatmulUnit(flow).word_bits
    rows, side, row_bits = flow.engine.rows, flow.drain_rows, _column_bits(flow)
    sums = rows * row_bits
    # Each row of a word is chosen among those that there are; the last word may have fewer.
    choice = sum(row_bits * choice_luts(ceil_div(rows - row, side), flow.engine.fabric) for row in range(side))
    return Footprint({"unit": 1, "sum_bit": sums, "word_bit": word, "choice_lut": choice})


def _residual_add(flow: FlowConfig) -> Footprint:
    unit, word = ResidualAddUnit(flow), MatmulUnit(flow).word_bits
    sizes = {
        "unit": 1,
        "lane": unit.lanes,
        "lane_bit": unit.lanes * flow.engine.acc_bits,
        "choice_lut": part_luts(word, unit.drain_parts, flow.engine.fabric),
        "root_bit_squared": unit.widths.v_bits**2,
        "loaded_bit": unit.load_memories["residual"].width,
    }
    jobs = Memory(sum(unit.job.values()), unit.job_slots)
    tiles = Memory(_tile_bits(unit), flow.staged_tiles)
    own = rams_of([unit.memories["residual_queue"], unit.memories["residual_rows"], jobs, tiles])
    return Footprint(sizes, own + loaded_rams(flow, *unit.load_memories), tuple(unit.products()))


def _tile_bits(unit: ResidualAddUnit) -> int:
    """Bits of a tile on its way to the roots: what SignNorm is told, and what the root takes."""
    job = unit.job
    return sum(job[name] for name in ("rows", "channels", "slot", "ring", "theta_addr", "eps", "mean"))


def _sign_norm(flow: FlowConfig) -> Footprint:
    unit = SignNormUnit(flow)
    theta = unit.load_memories["sign_norm"]
    # Registers of a memory in look-up tables are those of the multipliers behind it.
    deep = in_blocks(loadable(theta)[0], flow.engine.fabric)
    sizes = {"lane": unit.lanes, "shallow": not deep, "deep": deep, "deep_bit": deep * theta.width}
    own = rams_of([unit.memories["staging"], unit.memories["norm_rows"], unit.memories["norm_tiles"]])
    return Footprint(sizes, own + loaded_rams(flow, "sign_norm"), tuple(unit.products()))


def _head_norm(flow: FlowConfig) -> Footprint:
    unit = head_unit(flow)
    sizes = {
        "unit": 1,
        "lane": unit.lanes,
        "lane_sum_bit": unit.lanes * unit.widths.s1_bits,
        "choice_lut": part_luts(MatmulUnit(flow).word_bits, unit.drain_parts, flow.engine.fabric),
        "root_bit_squared": unit.widths.v_bits**2,
        "loaded_bit": sum(memory.width for memory in unit.load_memories.values()),
    }
    loaded = [ram for memory in unit.load_memories.values() for ram in loadable(memory)]
    return Footprint(sizes, (*rams_of(unit.memories.values()), *loaded), tuple(unit.products()))


def _softmax(flow: FlowConfig) -> Footprint:
    unit = SoftmaxUnit(flow)
    memories = unit.memories
    scores = memories["scores"]
    sizes = {
        "unit": 1,
        "lane": unit.lanes,
        "input": flow.drain_rows * flow.engine.columns,
        "row": unit.rows,
    }
    count = Ram(flow.engine.score_bits, memories["counts"].depth)
    jobs = Ram(memories["jobs"].width, memories["jobs"].depth, readers=2, registered=False)
    tables = [memories[name] for name in memories if name in ("exp", "tau", "theta") or name.startswith("step_")]
    own = (*rams_of([scores, memories["tops"]]), *(count,) * unit.rows, jobs, *rams_of(tables))
    return Footprint(sizes, own + loaded_rams(flow, *unit.load_memories), tuple(unit.products()))


def _tables(flow: FlowConfig) -> Footprint:
    memory = FlowMachine(flow).load_memories["tables"]
    sizes = {"unit": 1, "address_bit": _address_bits(memory), "table_bit": (2 * flow.engine.max_heads - 1).bit_length()}
    return Footprint(sizes, loaded_rams(flow, "tables"))


def _x(flow: FlowConfig) -> Footprint:
    unit = ResidualAddUnit(flow)
    word = unit.x_memory.width
    bank = replace(unit.x_memory, write_bits=word // (unit.row_lanes // EdgeUnit(flow).chunk))
    # What is written goes to each bank from two places; each of two readers chooses a bank.
    chosen = 2 * word * choice_luts(unit.banks, flow.engine.fabric)
    sizes = {"bank": unit.banks, "address_bit": unit.banks * unit.x_addr_bits}
    memories = [bank] * (unit.banks * unit.parts_of_bank)
    return Footprint(sizes | {"bit": unit.banks * word, "choice_lut": chosen}, rams_of(memories))


def _logits_queue(flow: FlowConfig) -> Footprint:
    # One word is in the register of the reader.
    queue = Ram(_LOGIT_BITS, flow.engine.queue_logits - 1, collides=True)
    return Footprint({"unit": 1, "level_bit": flow.engine.queue_logits.bit_length()}, (queue,))


def _rest(flow: FlowConfig) -> Footprint:
    return Footprint({"unit": 1, "bit": flow.engine.rows * flow.engine.columns + _COUNTER_BITS})


#: What lies between the units: sign bits of a tile, counters, decisions of the edge; the only one that is no component.
REST = "rest"

#: Every unit of an engine by name, in the order of reports.
FOOTPRINTS: dict[str, Callable[[FlowConfig], Footprint]] = {
    "registers": _plain,
    "loader": _plain,
    "settings": _settings,
    "run": _plain,
    "frame": _plain,
    "ring": _ring,
    "dense": _dense,
    "dense_out": _dense_out,
    "last_norm": _last_norm,
    "x": _x,
    "slots": _slots,
    "matmul": _matmul,
    "grid": _grid,
    "weights": _weights,
    "preload": _preload,
    "operands": _operands,
    "shadow": _shadow,
    "row_writer": _row_writer,
    "value_sums": _value_sums,
    "residual_add": _residual_add,
    "sign_norm": _sign_norm,
    "head_norm": _head_norm,
    "softmax": _softmax,
    "tables": _tables,
    "logits_queue": _logits_queue,
    REST: _rest,
}
#: Those that only engines with streamed weights have.
STREAMED_FOOTPRINTS: dict[str, Callable[[FlowConfig], Footprint]] = {"fetch": _fetch}
#: Those that only engines with streamed `edge_weights` have.
EDGE_FOOTPRINTS: dict[str, Callable[[FlowConfig], Footprint]] = {"edge_lines": _edge_lines}


def loaded_rams(flow: FlowConfig, *names: str) -> tuple[Ram, ...]:
    """Return memories that the load stream fills.

    Parameters
    ----------
    flow : FlowConfig
    *names : str
        Of the memories.
    """
    memories = _load_memories(flow)
    return tuple(ram for name in names for ram in loadable(memories[name]))


@lru_cache(maxsize=1)
def _load_memories(flow: FlowConfig) -> Mapping[str, LoadMemory]:
    """Those of the engine whose units are being estimated: most units ask for some of them."""
    return FlowMachine(flow).load_memories


def _registers(memory: LoadMemory) -> int:
    """Registers of a word that is loaded: as it is collected, and behind each memory that it lies in."""
    return 1 + (memory.read_cycles - 1) * len(memory.depths)


def _address_bits(memory: LoadMemory) -> int:
    return (sum(memory.depths) - 1).bit_length()


def _column_bits(flow: FlowConfig) -> int:
    """Bits of a row of sums."""
    return flow.engine.columns * flow.engine.acc_bits


def choice_luts(count: int, fabric: Fabric) -> int:
    """Look-up tables that choose one bit of so many by a number.

    One of six inputs takes four bits; of those with four, five stand for four multiplexers of two, on the whole.

    >>> [[choice_luts(n, fabric) for n in (1, 2, 3, 4, 6)] for fabric in ("lut6", "lut4")]
    [[0, 1, 1, 1, 2], [0, 1, 2, 3, 4]]
    """
    return ceil_div(count - 1, 3) if fabric == "lut6" else ceil_div(4 * (count - 1), 5)


def part_luts(bits: int, parts: int, fabric: Fabric) -> int:
    """Return the look-up tables that choose one of so many parts of a word.

    Parameters
    ----------
    bits : int
        Of the word.
    parts : int
    fabric : {"lut6", "lut4"}
    """
    return ceil_div(bits, parts) * choice_luts(parts, fabric)
