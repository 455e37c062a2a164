"""Engines that read what they do not hold: weights of the blocks, what the edge takes once an image, or once a pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from math import prod

from ..engine.words import ceil_div, power_of_two
from ..errors import BivitError
from ..flow.config import MEMORY_BITS, FlowConfig
from ..flow.edge import EdgeUnit
from ..flow.weight_stream import WeightStreamUnit
from ..mapping.loads import edge_loads, loads_of
from ..network.config import ModelConfig
from ..network.formats import DENSE_WEIGHT_BITS
from .aim import Aim
from .finalists import Names
from .sizing import Wish, program_words
from .windowed import fitted

#: Share of its time that the port of streamed weights may be busy.
_MEMORY_SLACK = 0.8
#: Times of the array's load that patches may take, where they are embedded between images.
_PACES = (1, 2)
#: Bytes of a beat of pixels with which a block memory holds most of a patch.
_LEAST_BEAT = 4
#: Patches of a pass that are tried where each pass reads its weights, and channels, in lanes of the edge.
_PATCHES, _LANES = (4, 7, 14, 28, 32), (1, 2, 4)


def with_streamed_weights(flows: Names, aim: Aim) -> dict[FlowConfig, str | None]:
    """Return engines that were sized with weights that are streamed, by the narrowest port that is enough for them.

    Images in flight begin together then, so that as many are embedded before.

    Parameters
    ----------
    flows : mapping
        Those with resident weights, and the names of some, which are left out.
    aim : Aim
    """
    found: dict[FlowConfig, str | None] = {}
    for flow in (flow for flow, name in flows.items() if name is None):
        for bits in MEMORY_BITS:
            banks = flow.edge_banks if flow.windows else flow.images
            changed = fitted(aim.configs, replace(flow, edge_banks=banks, weights="streamed", memory_bits=bits))
            if _read_in_time(changed, aim) or bits == MEMORY_BITS[-1]:
                found[changed] = None
                break
    return found


def with_streamed_edge(flows: Names, aim: Aim) -> dict[FlowConfig, str | None]:
    """Return engines whose classifier and positions are streamed as well, of those whose weights are.

    Parameters
    ----------
    flows : mapping
        As `with_streamed_weights` gives them, among others; the port stays as wide as the weights need it.
    aim : Aim
    """
    found: dict[FlowConfig, str | None] = {}
    for flow in (flow for flow, name in flows.items() if name is None and flow.streamed):
        with suppress(BivitError):  # whose port is too narrow, or that hold their classifier in any case
            found[replace(flow, edge_weights="streamed")] = None
    return found


def with_streamed_patches(flows: Names, aim: Aim) -> dict[FlowConfig, str | None]:
    """Return engines whose patch embedding is streamed as well, of those whose classifier is.

    Patches and channels of a pass are the fewest that keep up with the array by the narrowest port that has the time.

    Parameters
    ----------
    flows : mapping
        As `with_streamed_edge` gives them, among others.
    aim : Aim
    """
    return dict.fromkeys(found for flow in _holding_patches(flows) if (found := _with_passes(flow, aim)))


def with_one_image(flows: Names, aim: Aim) -> dict[FlowConfig, str | None]:
    """Return engines without windows that hold one image and the next one, and read all that can be read.

    An image has the weights for itself then, which may take a wider port, or other passes; its slot table is that of a
    block.

    Parameters
    ----------
    flows : mapping
        As `with_streamed_edge` gives them, among others.
    aim : Aim
    """
    return dict.fromkeys(found for flow in _each_alone(flows, aim) if (found := _with_passes(flow, aim)))


def with_one_bank(flows: Names, aim: Aim) -> dict[FlowConfig, str | None]:
    """Return engines without windows that hold x of one image alone, and as little else as they can do with.

    That is the least ring of weights, passes of pixels so many that one comes in while one is summed, and the logits of
    an image. Images are embedded between those that are in the blocks, so that both take their time.

    Parameters
    ----------
    flows : mapping
        As `with_streamed_edge` gives them, among others.
    aim : Aim
    """
    found: dict[FlowConfig, str | None] = {}
    each = (_with_passes(flow, aim, pace) for flow in _each_alone(flows, aim) for pace in _PACES)
    for flow in filter(None, each):
        passes = 1 + max(EdgeUnit(flow).strip_passes(config.grid_size) for config in aim.configs)
        words = max(WeightStreamUnit(flow).ring_words(config) for config in aim.configs)
        size, logits = min(flow.engine.pixel_bytes, _LEAST_BEAT), power_of_two(flow.engine.max_classes + 1)
        engine = replace(flow.engine, pixel_bytes=size, queue_logits=min(flow.engine.queue_logits, logits))
        ring = power_of_two(words)
        with suppress(BivitError):  # more passes than a ring has
            found[replace(flow, engine=engine, edge_banks=0, patch_slots=passes, ring_words=ring)] = None
    return found


def _holding_patches(flows: Names) -> list[FlowConfig]:
    """Engines without a name that hold the patch embedding, and read all else."""
    return [flow for flow, name in flows.items() if name is None and flow.edge_streamed and not flow.patch_streamed]


def _each_alone(flows: Names, aim: Aim) -> Iterator[FlowConfig]:
    """Engines without windows that read all but the patch embedding, with one image in flight."""
    alone = (_alone(flow, aim) for flow in _holding_patches(flows) if not flow.windows)
    return filter(None, alone)


def _with_passes(flow: FlowConfig, aim: Aim, pace: int = 1) -> FlowConfig | None:
    """The engine with streamed patches that take no more than `pace` times what the array takes; None where none is."""
    most = [pace * loads_of(config, flow).cycles["array"] for config in aim.configs]
    return next((one for one in _reading_passes(flow, aim, most) if _in_time(one, aim, most)), None)


def _alone(flow: FlowConfig, aim: Aim) -> FlowConfig | None:
    """The engine with one image in flight, and one that is embedded; None where a table has too many words."""
    words = program_words(aim.configs, Wish(flow.engine.rows, flow.engine.columns, 1, 1.0))
    with suppress(BivitError):
        return replace(flow, engine=replace(flow.engine, program_words=words), images=1, edge_banks=1)
    return None


def _reading_passes(flow: FlowConfig, aim: Aim, arrays: Sequence[int]) -> Iterator[FlowConfig]:
    """The engine with streamed patches by any port that is no narrower, with the fewest products first."""
    each = [*zip(aim.configs, arrays, strict=True)]
    shapes = [(patches, lanes * flow.engine.lanes) for patches in _PATCHES for lanes in _LANES]
    for bits in (bits for bits in MEMORY_BITS if bits >= flow.memory_bits):
        for patches, channels in sorted(shapes, key=lambda shape: (prod(shape), -shape[0])):
            steps = max(_steps(config, patches, channels) / array for config, array in each)
            if steps <= 1 and steps * channels * DENSE_WEIGHT_BITS <= _MEMORY_SLACK * bits:
                with suppress(BivitError):  # a port that is too narrow for a word
                    shaped = replace(flow, dense_patches=patches, dense_channels=channels, memory_bits=bits)
                    yield replace(shaped, patch_weights="streamed")


def _steps(config: ModelConfig, patches: int, channels: int) -> int:
    """Steps of an image's passes."""
    return ceil_div(config.grid_size**2, patches) * ceil_div(config.embed_dim, channels) * config.patch_dim


def _in_time(flow: FlowConfig, aim: Aim, arrays: Sequence[int]) -> bool:
    """Whether the patch embedding keeps up with the array, and the port with all."""
    with suppress(BivitError):  # a row of patches that the ring has no room for
        dense = [edge_loads(config, flow)["dense"] for config in aim.configs]
        if all(cycles <= array for cycles, array in zip(dense, arrays, strict=True)):
            return _read_in_time(flow, aim)
    return False


def _read_in_time(flow: FlowConfig, aim: Aim) -> bool:
    """Whether the port has the time for all that is read."""
    loads = [loads_of(config, flow) for config in aim.configs]
    return all(one.cycles["memory"] <= _MEMORY_SLACK * one.bound for one in loads)
