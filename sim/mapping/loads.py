"""What each part of an engine is busy with for one image: the largest load is what binds, and bounds the speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from ..engine.memories import TABLE_WORDS
from ..engine.words import ceil_div
from ..flow.config import FlowConfig
from ..flow.edge_lines import EdgeLinesUnit
from ..flow.edge_settings import edge_settings, group_spans
from ..flow.head_norm import HeadNormUnit
from ..flow.matmul import MatmulUnit
from ..flow.residual_add import ResidualAddUnit
from ..flow.settings import WEIGHT_PARTS
from ..flow.sign_norm import SignNormUnit
from ..flow.softmax import SoftmaxUnit
from ..flow.streams import Stream, TileShape
from ..flow.weight_stream import WeightStreamUnit
from ..network.config import ModelConfig, ViTConfig, vit_only
from ..network.stage_view import StageView, stage_views
from ..timing.plan import TABLE_SETS, blocks_in_turn


@dataclass(frozen=True)
class Loads:
    """Cycles of one image in which parts of an engine are busy, in a long run.

    Parameters
    ----------
    cycles : mapping of str to int
        By part: array, residual_add, sign_norm, head_norm, softmax, row_writer, drain, tables, dense (patches and
        classifier), patch_norm (where patches are normalised), pixels (beats of the stream), logits; where weights are
        streamed, memory (beats of an image's share of a pass, and of what the edge reads); without `edge_banks`, x (the
        blocks of an image and the patches of the one that takes its place, in a bank).
    passes : tuple of mapping of str to int
        Those of the array and of the units behind it for each pass of a network, as all of its windows take them; one
        without windows. They add up to `cycles`.
    """

    cycles: Mapping[str, int]
    passes: tuple[Mapping[str, int], ...]

    @property
    def in_turn(self) -> int:
        """Cycles of an image in which some pass is worked on, at least: one comes after the other."""
        return sum(max(of.values()) for of in self.passes)

    @property
    def bound(self) -> int:
        """Cycles of an image that no order of the work gets below."""
        return max(self.in_turn, *self.cycles.values())

    @property
    def binds(self) -> str:
        """The part with the largest load; of several the first one."""
        return max(self.cycles, key=lambda part: self.cycles[part])

    @property
    def shares(self) -> dict[str, float]:
        """Loads over that of what binds, the largest first."""
        ordered = sorted(self.cycles.items(), key=lambda item: -item[1])
        return {part: cycles / ordered[0][1] for part, cycles in ordered}


def loads_of(config: ModelConfig, flow: FlowConfig) -> Loads:
    """Return the loads of an engine with a network that it holds.

    Latencies, and what waits for what, are left out: `sim.mapping.cycles` has those.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig

    Raises
    ------
    BivitError
        When the ring of patches is too small for a row of patches.
    """
    found, passes = Counter[str](), list[dict[str, int]]()
    for view in _views(config, flow):
        windows = view.windows if isinstance(view, StageView) else 1
        loads = {part: windows * cycles for part, cycles in _core(view, flow).items()}
        if flow.windows and windows > 1 and loads.get("tables"):
            # Both sets are loaded once a block, for all images that go together; then they stay.
            words = TABLE_SETS * view.num_heads * TABLE_WORDS // flow.windows.images
            loads["tables"] = view.depth * (words + windows)
        found.update(loads)
        passes.append(loads)
    memory = {"memory": memory_beats(config, flow)} if flow.streamed else {}
    bank = {} if flow.edge_banks or flow.windows else {"x": _bank_cycles(config, flow, passes[0])}
    return Loads(found | edge_loads(config, flow) | memory | bank, tuple(passes))


def _core(config: ViTConfig, flow: FlowConfig) -> dict[str, int]:
    """Loads of an image without the edge, or of a window in a pass."""
    shape = TileShape(config, flow.engine.rows, flow.engine.columns)
    if shape.merges:
        return _merging(config, flow, shape)
    softmax, norm = shape.softmax, shape.head_norm
    operations, matmul = shape.operations, MatmulUnit(flow)
    made = config.num_heads * shape.head_groups
    drained = operations[Stream.PROJ] + operations[Stream.FC2]
    drained += (operations[Stream.SCORES] if softmax else 0) + (2 * made if norm else 0)
    by_row = made if norm else 2 * made
    tiles, depth = shape.tiles, config.depth
    return {
        "array": depth * tiles * shape.tile_steps,
        "residual_add": _residual(config, flow, shape),
        "sign_norm": _sign_norm(config, flow, shape),
        "head_norm": depth * _head_norm(config, flow, shape) if norm else 0,
        "softmax": depth * _softmax(config, flow, shape) if softmax else 0,
        "row_writer": depth * by_row * sum(matmul.row_groups(rows) + 1 for rows in shape.tile_rows),
        "drain": depth * tiles * drained * flow.drain_cycles,
        "tables": depth * config.num_heads * TABLE_WORDS if softmax else 0,
    }


def _merging(config: ViTConfig, flow: FlowConfig, shape: TileShape) -> dict[str, int]:
    """Four neighbours of each token are read and normalised together, and what the array makes of them is written."""
    made, rows = shape.operations[Stream.QKV], sum(ResidualAddUnit(flow).length(rows) for rows in shape.tile_rows)
    return {
        "array": shape.tiles * shape.tile_steps,
        "residual_add": (shape.norm_groups + made) * rows,
        "sign_norm": _norm_cycles(config, flow, shape),
        "drain": shape.tiles * made * flow.drain_cycles,
    }


def memory_beats(config: ModelConfig, flow: FlowConfig) -> int:
    """Return the beats that are read for one image: its share of the blocks' weights, and what its edge reads.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
    """
    return ceil(memory_bytes(config, flow) / WeightStreamUnit(flow).beat_bytes)


def memory_bytes(config: ModelConfig, flow: FlowConfig) -> float:
    """Return the bytes that are read for one image: its share of the blocks' weights, and what its edge reads.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
    """
    edge = EdgeLinesUnit(flow).read_bytes(config) if flow.edge_streamed else 0
    return WeightStreamUnit(flow).pass_bytes(config) / flow.together + edge


def with_late_weights(config: ModelConfig, flow: FlowConfig, interval: float, memory: float) -> float:
    """Return the cycles from image to image where streamed weights are late, at least: an estimate.

    Weights of a block come while the one before is computed, so that a large block is not helped by small ones. Into a
    ring each part comes as soon as parts before it that have been read leave room.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
        With streamed weights.
    interval, memory : float
        Cycles from image to image while weights are in time, and those in which the memory gives an image's share.
    """
    if flow.weight_ring:
        return _ring_cycles(config, flow, interval, memory)
    steps, beats = _blocks(config, flow)
    cycles = [interval * of / sum(steps) for of in steps]
    reads = [memory * of / sum(beats) for of in beats]
    return sum(max(now, following) for now, following in zip(cycles, reads[1:] + reads[:1], strict=True))


def _ring_cycles(config: ModelConfig, flow: FlowConfig, interval: float, memory: float) -> float:
    """Cycles from group to group over the images of a group: part by part, each begun when it is there, and read."""
    parts = WeightStreamUnit(flow).parts(config)
    steps = [each for view in stage_views(config) for each in _part_steps(view, flow)]
    pace, rate = interval / sum(steps), memory / sum(part.beats for part in parts)
    read, ends, held, oldest = 0.0, list[float](), 0, 0
    for number, part in enumerate(parts * 3):
        held, begins = held + part.words, read
        while held > flow.weight_ring:
            # What lies where the last of its words go has been read then.
            over = part.beats * min(1.0, (held - flow.weight_ring) / part.words)
            begins = max(begins, ends[oldest] - rate * (part.beats - over))
            held, oldest = held - parts[oldest % len(parts)].words, oldest + 1
        read = begins + rate * part.beats
        ends.append(max(read, ends[-1] if ends else 0.0) + pace * steps[number % len(parts)])
    # The first time there was nothing to wait for.
    return ends[-1] - ends[-1 - len(parts)]


def _part_steps(view: StageView, flow: FlowConfig) -> list[int]:
    """Steps of the array with each part of a pass; those of scores and context with the part before them."""
    shape = TileShape(view, flow.engine.rows, flow.engine.columns)
    times = view.windows * shape.tiles
    if shape.merges:
        return [times * shape.tile_steps]
    steps = {stream: times * shape.work[stream] * shape.steps[stream] for stream in Stream}
    steps[Stream.QKV] += steps[Stream.SCORES] + steps[Stream.CONTEXT]
    return [steps[part] for part in WEIGHT_PARTS] * view.depth


def _blocks(config: ModelConfig, flow: FlowConfig) -> tuple[list[int], list[int]]:
    """Steps of the array and beats of weights of each block, of an engine without windows."""
    view, beats = vit_only(config), [0]
    shape = TileShape(view, flow.engine.rows, flow.engine.columns)
    steps = [shape.tiles * shape.tile_steps] * view.depth
    for part in WeightStreamUnit(flow).parts(config):
        beats[-1] += part.beats
        beats += [0] if part.ends else []
    return steps, beats[:-1]


def _views(config: ModelConfig, flow: FlowConfig) -> Sequence[ViTConfig]:
    """What lanes see: of an engine with windows pass by pass."""
    return stage_views(config) if flow.windows else (vit_only(config),)


def with_memory(
    loads: Loads, config: ModelConfig, flow: FlowConfig, most_gb_s: float | None, clock_mhz: float
) -> Loads:
    """Return loads of which `memory` is that of the memory behind the port, where that is the slower one.

    Parameters
    ----------
    loads : Loads
        Of the engine.
    config : ModelConfig
    flow : FlowConfig
    most_gb_s : float, optional
        What the memory gives, in 10^9 bytes a second; None where nobody knows: then nothing changes.
    clock_mhz : float
    """
    if most_gb_s is None or not flow.streamed:
        return loads
    cycles = ceil(memory_gb_s(config, flow, 1.0) / most_gb_s * clock_mhz * 1e6)
    return replace(loads, cycles={**loads.cycles, "memory": max(loads.cycles["memory"], cycles)})


def with_waits(config: ModelConfig, flow: FlowConfig, single: int, interval: float, loads: Loads) -> tuple[int, float]:
    """Return cycles for which no port and no memory of streamed weights is too slow.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
    single : int
        Of one image, if weights are in time; an image by itself reads for itself alone.
    interval : float
        From image to image in a long run, likewise.
    loads : Loads
        As of `with_memory`.
    """
    if not flow.streamed:
        return single, interval
    memory, share = loads.cycles["memory"], memory_bytes(config, flow)
    others = WeightStreamUnit(flow).pass_bytes(config) * (1 - 1 / flow.together)  # their share of a pass
    alone = round(with_late_weights(config, flow, single, memory * (share + others) / share))
    return alone, with_late_weights(config, flow, interval, memory)


def memory_gb_s(config: ModelConfig, flow: FlowConfig, images_per_s: float) -> float:
    """Return what streamed weights take of the memory, in 10^9 bytes a second.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
    images_per_s : float
    """
    return memory_bytes(config, flow) * images_per_s / 1e9


def _residual(config: ViTConfig, flow: FlowConfig, shape: TileShape) -> int:
    """proj and fc2 of every block, and the first norm's read of what a lane takes: an image, or a window each time."""
    unit, groups = ResidualAddUnit(flow), shape.operations[Stream.PROJ]
    loads = config.depth // blocks_in_turn(config)
    return (2 * config.depth + loads) * groups * sum(unit.length(rows) for rows in shape.tile_rows)


def _sign_norm(config: ViTConfig, flow: FlowConfig, shape: TileShape) -> int:
    return 2 * config.depth * _norm_cycles(config, flow, shape)


def _norm_cycles(config: ViTConfig, flow: FlowConfig, shape: TileShape) -> int:
    """Cycles of SignNorm with all tokens once."""
    unit = SignNormUnit(flow)
    pace = max(unit.words(config.embed_dim), unit.least_pace)
    return sum(unit.groups(rows) * pace for rows in shape.tile_rows)


def _head_norm(config: ViTConfig, flow: FlowConfig, shape: TileShape) -> int:
    unit = HeadNormUnit(flow)
    pace = max(unit.words(config.head_dim), unit.pace)
    return 2 * config.num_heads * sum(unit.groups(rows) * pace for rows in shape.tile_rows)


def _softmax(config: ViTConfig, flow: FlowConfig, shape: TileShape) -> int:
    unit = SoftmaxUnit(flow)
    pace = unit.row_cycles(config.num_tokens)
    return config.num_heads * sum(ceil_div(rows, unit.rows) * pace for rows in shape.tile_rows)


def edge_loads(config: ModelConfig, flow: FlowConfig) -> dict[str, int]:
    """Return the loads of the edge: multipliers of patches and classes, norm of patches where there is one, streams.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig

    Raises
    ------
    BivitError
        When the ring of patches is too small for a row of patches.
    """
    values = edge_settings(config, flow, 1)
    normed = {"patch_norm": values["patch_norm_tokens"] * values["patch_norm_pace"]} if config.patch_norm else {}
    return normed | {
        "dense": _patch_cycles(values) + values["class_groups"] * group_spans(values, "class")[1],
        "pixels": values["strips"] ** 2 * values["patch_rows"] * values["row_pieces"],
        "logits": config.num_classes,
    }


def _bank_cycles(config: ModelConfig, flow: FlowConfig, blocks: Mapping[str, int]) -> int:
    """Cycles of an image's share of the banks of x, without windows: its blocks, then the next one's patches."""
    patches = _patch_cycles(edge_settings(config, flow, 1))
    return ceil_div(max(blocks.values()) + patches, flow.images)


def _patch_cycles(values: Mapping[str, int]) -> int:
    """Cycles in which the multipliers have an image's patches, by the edge's settings."""
    return values["passes"] * values["patch_groups"] * group_spans(values, "patch")[1]
