"""The engines that `calibrate` synthesises: small ones that differ in each width and limit, and the named ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...sim.engine.config import EngineConfig
from ...sim.estimate.devices import Family
from ...sim.estimate.units import FOOTPRINTS, REST
from ...sim.estimate.windowed import WINDOWED_FOOTPRINTS
from ...sim.flow.config import FlowConfig
from ...sim.flow.presets import FLOW_ENGINES
from ...sim.mapping.pass_limits import with_windows
from ...sim.network.presets import preset
from .drawn import drawn_engines, sampled_units

#: Limits of a model, in the order of `_flow`.
_LIMITS = (
    "max_tokens",
    "max_embed_dim",
    "max_hidden_dim",
    "max_heads",
    "max_depth",
    "max_classes",
    "max_patch_dim",
    "max_strip_bytes",
)
#: Widths of the units, likewise.
_LANES = ("drain_rows", "norm_lanes", "head_norm_lanes", "softmax_lanes", "value_rows")


def _flow(
    array: tuple[int, int, int],
    model: tuple[int, ...],
    front: tuple[int, int, int],
    lanes: tuple[int, int, int, int, int],
    **others: Any,
) -> FlowConfig:
    """Return an engine.

    Parameters
    ----------
    array : tuple of int
        Rows, columns, lanes.
    model : tuple of int
        Limits, see `_LIMITS`.
    front : tuple of int
        Slots' words, bytes of a beat, logits that wait.
    lanes : tuple of int
        Rows that are drained, lanes of the norms, of HeadNorm and of the softmax, rows of values.
    **others
        More fields.
    """
    limits: dict[str, Any] = dict(zip(_LIMITS, model, strict=True))
    engine = EngineConfig(
        rows=array[0],
        columns=array[1],
        lanes=array[2],
        dense_lanes=array[2],
        program_words=front[0],
        pixel_bytes=front[1],
        queue_logits=front[2],
        **limits,
    )
    widths: dict[str, Any] = dict(zip(_LANES, lanes, strict=True))
    return FlowConfig(engine=engine, **widths, **others)


#: Named engine whose units are fitted as well.
NAMED = "zcu102"
#: Family of each named engine that is synthesised whole, which takes minutes; of larger ones the units are, but for the
#: array itself, which takes hours.
WHOLE_ENGINES: dict[str, Family] = {
    "sim": "xcup",
    **dict.fromkeys(("ecp5_25", "digits", "ecp5_45", "ulx3s"), "ecp5"),
    "arty": "xc7",
}
LARGE_ENGINES: dict[str, Family] = dict.fromkeys((NAMED, "kv260", "vck190", "latency"), "xcup")
#: Named engines without windows of which nothing was synthesised yet.
ESTIMATED_ENGINES = ("base_zcu102",)
#: Engines that the weights are fitted to, by rows x columns.
FITTED_ENGINES = {
    "2x8": _flow((2, 8, 8), (17, 32, 64, 2, 1, 10, 16, 64), (64, 8, 64), (1, 8, 8, 8, 1), images=1),
    "4x8": _flow((4, 8, 8), (65, 64, 128, 4, 2, 10, 48, 512), (128, 4, 512), (2, 16, 16, 16, 2), dense_patches=2),
    "4x16": _flow(
        *((4, 16, 16), (17, 64, 256, 4, 2, 100, 16, 64), (256, 8, 512), (4, 16, 8, 32, 1)),
        dense_patches=4,
        head_slots=6,
    ),
    "3x16": _flow(
        *((3, 16, 8), (198, 192, 384, 3, 2, 10, 192, 1024), (128, 8, 100), (1, 8, 16, 8, 4)),
        images=3,
        dense_channels=32,
        staging_slots=3,
    ),
    "6x8": _flow(
        *((6, 8, 8), (101, 128, 512, 2, 2, 20, 64, 512), (256, 4, 2048), (6, 24, 8, 48, 1)),
        dense_patches=3,
        dense_channels=16,
        residual_slots=6,
    ),
    "2x32": _flow(
        *((2, 32, 32), (198, 192, 768, 3, 1, 1000, 768, 4096), (256, 8, 4096), (2, 64, 32, 64, 2)),
        dense_patches=2,
    ),
}
#: Engines that only the errors are measured on.
HELD_OUT_ENGINES = {
    "5x8": _flow(
        *((5, 8, 8), (50, 96, 384, 3, 2, 37, 108, 1024), (256, 2, 1024), (2, 8, 16, 16, 2)),
        dense_patches=2,
        dense_channels=16,
    ),
    "5x16": _flow(
        *((5, 16, 16), (198, 256, 1024, 4, 1, 100, 300, 2048), (64, 8, 256), (2, 32, 16, 32, 2)),
        dense_patches=3,
        score_slots=5,
    ),
}

FITTED_ENGINES |= {NAMED: FLOW_ENGINES[NAMED]}
HELD_OUT_ENGINES |= {name: FLOW_ENGINES[name] for name in (*WHOLE_ENGINES, *LARGE_ENGINES) if name != NAMED}

#: Seeds of the engines that are drawn, and how many of them are fitted and held out.
_FITTED_SEED, _HELD_OUT_SEED, _FITTED_DRAWN, _HELD_OUT_DRAWN = 2, 1, 10, 20
#: Units of each drawn engine that is held out.
_SAMPLE = 5
_HELD_OUT_DRAWN_ENGINES = drawn_engines(_HELD_OUT_SEED, _HELD_OUT_DRAWN)
FITTED_ENGINES |= drawn_engines(_FITTED_SEED, _FITTED_DRAWN)
HELD_OUT_ENGINES |= _HELD_OUT_DRAWN_ENGINES
#: Units that are synthesised of the drawn engines that are held out, by engine.
SAMPLED_UNITS: dict[str, tuple[str, ...]] = {
    name: sampled_units(number, [unit for unit in FOOTPRINTS if unit != REST], _SAMPLE)
    for number, name in enumerate(_HELD_OUT_DRAWN_ENGINES)
}

#: What an engine's name ends with where two channels share a multiplier block, or none has one.
PAIRED, _IN_LUTS = "-paired", "-luts"
#: The unit that is another one then.
PAIRED_UNIT = "dense"
_SHARING: tuple[tuple[str, int, str], ...] = (
    *((PAIRED, 2, name) for name in ("4x8", "4x16", "6x8", "2x32", "5x8", "5x16")),
    *((_IN_LUTS, 0, name) for name in ("2x8", "4x8", "6x8", "5x8")),
)
for _end, _products, _name in _SHARING:
    _group = FITTED_ENGINES if _name in FITTED_ENGINES else HELD_OUT_ENGINES
    _group[f"{_name}{_end}"] = replace(_group[_name], products_per_dsp=_products)

#: What an engine's name ends with whose weights are streamed, or whose classifier and positions are as well, and the
#: unit that it has beside the others.
STREAMED, EDGE = "-streamed", "-edge"
BESIDE = {STREAMED: "fetch", EDGE: "edge_lines"}
#: Of which engines so.
_EDGES = ("2x8", "4x8", "4x16", "3x16", "5x8")
#: What an engine's name ends with whose patch embedding is streamed as well, and of which engines so.
PATCHES, _PATCHED = "-patches", ("4x8", "3x16", "5x8")
#: Bits of the memory port of such engines.
_PORTS = {"2x8": 64, "4x8": 256, "4x16": 128, "3x16": 512, "2x32": 128, "5x8": 128, "5x16": 256}
for _group in (FITTED_ENGINES, HELD_OUT_ENGINES):
    for _name, _bits in _PORTS.items():
        if _name in _group:
            _streamed = replace(_group[_name], weights="streamed", memory_bits=_bits)
            _group[f"{_name}{STREAMED}"] = _streamed
            if _name in _EDGES:
                _group[f"{_name}{EDGE}"] = _edge = replace(_streamed, edge_weights="streamed")
                if _name in _PATCHED:
                    _group[f"{_name}{PATCHES}"] = replace(_edge, patch_weights="streamed")

#: What an engine's name ends with that has windows, and the one of those that is synthesised whole.
WINDOWED = "-windows"
WHOLE_WINDOWED = f"2x8{WINDOWED}"
#: Such engines by the one of the same shape: the network that it is made for, images that go together, other widths.
_WINDOWED: dict[str, tuple[str, int, dict[str, Any]]] = {
    "2x8": ("swin_fashion", 1, {}),
    "4x8": ("swin_fashion", 2, {}),
    "3x16": ("swin_cifar", 4, {}),
    "4x16": ("swin_tiny", 2, {"norm_lanes": 64, "head_norm_lanes": 32}),
    "6x8": ("swin_tiny", 3, {"norm_lanes": 16, "head_norm_lanes": 24}),
    "5x8": ("swin_cifar", 2, {}),
    "2x32": ("swin_tiny", 1, {}),
}


def _windowed(flow: FlowConfig, network: str, images: int, widths: dict[str, Any]) -> FlowConfig:
    """Return an engine with windows, made for a preset."""
    config = preset(network)
    engine = replace(flow.engine, queue_logits=max(flow.engine.queue_logits, config.num_classes))
    return with_windows(replace(flow, engine=engine, **widths), config, images=images)


def _tabled(flow: FlowConfig, network: str) -> FlowConfig:
    """Return an engine with windows whose biases are a table of each head, for a preset."""
    config, windows = preset(network), flow.windows
    assert windows is not None
    held = replace(flow, windows=replace(windows, bias_window=config.blocks[0].window or 0))
    return with_windows(held, config, images=windows.images)


_FITTED_WINDOWED = ("2x8", "4x8", "3x16", "4x16", "6x8")
for _name, _made in _WINDOWED.items():
    _shape = (FITTED_ENGINES | HELD_OUT_ENGINES)[_name]
    _group = FITTED_ENGINES if _name in _FITTED_WINDOWED else HELD_OUT_ENGINES
    _group[f"{_name}{WINDOWED}"] = _windowed(_shape, *_made)

#: What an engine's name ends with that has a table of biases of each head, and such engines.
_TABLED, _WITH_TABLES = "-tables", ("2x8", "4x16", "5x8")
#: Units that are synthesised of an engine that has others of its own, by what its name ends with.
OWN_UNITS = {WINDOWED: tuple(WINDOWED_FOOTPRINTS), _TABLED: ("softmax",), _IN_LUTS: (PAIRED_UNIT,)}
OWN_UNITS[PATCHES] = (BESIDE[EDGE], PAIRED_UNIT)
for _name in _WITH_TABLES:
    _group = FITTED_ENGINES if _name in _FITTED_WINDOWED else HELD_OUT_ENGINES
    _group[f"{_name}{_TABLED}"] = _tabled(_group[f"{_name}{WINDOWED}"], _WINDOWED[_name][0])
