"""What each part of an engine allows, and what one would change of the engine so that the part allows more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ..errors import BivitError
from ..flow.config import MEMORY_BITS, FlowConfig
from ..network.config import ModelConfig
from .points import Point, with_flow
from .sizing import PIXEL_BYTES, dense_choices, lane_choices, rows_together
from .windowed import fitted

#: Widths of an engine on which the load of a part depends, by part; the classes leave one a cycle, and tables are read
#: word by word.
_WIDTHS: dict[str, tuple[str, ...]] = {
    "array": ("rows", "columns"),
    "residual_add": ("norm_lanes",),
    "sign_norm": ("norm_lanes",),
    "head_norm": ("head_norm_lanes",),
    "softmax": ("softmax_lanes",),
    "row_writer": ("value_rows",),
    "drain": ("drain_rows",),
    "dense": ("dense_patches", "dense_channels"),
    "pixels": ("pixel_bytes",),
    "memory": ("memory_bits",),
    "x": ("edge_banks",),
}


@dataclass(frozen=True)
class Ceiling:
    """What one part allows.

    Parameters
    ----------
    part : str
        As in `sim.mapping.loads`.
    cycles : int
        Of an image in which it is busy: images can follow each other no faster.
    widths : mapping of str to int
        What that depends on, as the engine has it.
    wider : Point, optional
        The engine with the next larger width with which the part is less busy, and all else as it is; None where no
        width makes it so. A larger array is another engine altogether, which the search compares, and none here.
    """

    part: str
    cycles: int
    widths: Mapping[str, int]
    wider: Point | None


def ceilings(configs: Sequence[ModelConfig], point: Point) -> list[Ceiling]:
    """Return what each part allows, the one that binds first.

    Parameters
    ----------
    configs : sequence of ModelConfig
        Networks that the engine holds.
    point : Point
    """
    return [
        Ceiling(part, point.loads.cycles[part], _widths(point.flow, part), _wider(configs, point, part))
        for part, share in point.loads.shares.items()
        if share  # a part that the network has no work for is none that it waits for
    ]


def _widths(flow: FlowConfig, part: str) -> dict[str, int]:
    names = _WIDTHS.get(part, ())
    return {name: getattr(flow.engine if hasattr(flow.engine, name) else flow, name) for name in names}


def _wider(configs: Sequence[ModelConfig], point: Point, part: str) -> Point | None:
    """The engine with the next width that makes a part less busy."""
    for changes in _changes(configs, point.flow, part):
        with suppress(BivitError):  # a width that no engine has
            flow = fitted(configs, _changed(point.flow, changes))
            found = with_flow(configs, point, flow)
            if found.loads.cycles.get(part, 0) < point.loads.cycles[part]:
                return found
    return None


def _changed(flow: FlowConfig, changes: Mapping[str, int]) -> FlowConfig:
    """The engine with other widths; of the array's own fields only that of the pixels is one of them."""
    if "pixel_bytes" in changes:
        return replace(flow, engine=replace(flow.engine, pixel_bytes=changes["pixel_bytes"]))
    return replace(flow, **dict(changes))  # type: ignore[arg-type]  # names of whole numbers


def _changes(configs: Sequence[ModelConfig], flow: FlowConfig, part: str) -> Iterator[dict[str, int]]:
    """Larger widths of a part, the smallest first."""
    for parts, field, values in lane_choices(flow):
        for value in values if part in parts else ():
            if value > getattr(flow, field):
                yield {field: value, "drain_rows": _drain(flow, {field: value})}
    if part == "drain":
        together = rows_together(flow, {})
        yield from (
            {"drain_rows": drain} for drain in range(flow.drain_rows + together, flow.engine.rows + 1, together)
        )
    if part == "dense":
        made = flow.dense_patches * flow.dense_channels
        pairs = dense_choices(configs, flow.engine.lanes)
        yield from ({"dense_patches": n, "dense_channels": width} for n, width in pairs if n * width > made)
    if part == "x":
        yield {"edge_banks": flow.edge_banks + 1}
    if part == "pixels":
        yield from ({"pixel_bytes": size} for size in PIXEL_BYTES if size > flow.engine.pixel_bytes)
    if part == "memory":
        yield from ({"memory_bits": bits} for bits in MEMORY_BITS if bits > flow.memory_bits)


def _drain(flow: FlowConfig, changes: Mapping[str, int]) -> int:
    """Rows that leave the array together with other lanes: as many as before, or more where the units ask for that."""
    together = rows_together(flow, changes)
    return -(-flow.drain_rows // together) * together
