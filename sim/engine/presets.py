"""Engines by name, from files, and the smallest of a shape that holds a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import check, near
from ..network.config import ViTConfig
from ..network.presets import vit_preset
from ..system.files import read_json
from ..system.typed import build
from .config import EngineConfig, Fabric


def engine_for(
    config: ViTConfig, *, rows: int, columns: int, lanes: int, dense_lanes: int, program_words: int, **more: Any
) -> EngineConfig:
    """Return the smallest engine of this shape that holds a network of `config`.

    Parameters
    ----------
    config : ViTConfig
        The largest network to run.
    rows, columns, lanes, dense_lanes, program_words : int
        As in `EngineConfig`.
    **more
        Other fields of `EngineConfig`.
    """
    return EngineConfig(
        rows=rows,
        columns=columns,
        lanes=lanes,
        dense_lanes=dense_lanes,
        program_words=program_words,
        max_tokens=config.num_tokens,
        max_embed_dim=config.embed_dim,
        max_hidden_dim=config.hidden_dim,
        max_heads=config.num_heads,
        max_depth=config.depth,
        max_classes=config.num_classes,
        max_patch_dim=config.patch_dim,
        max_strip_bytes=config.img_size * config.patch_size * config.in_chans,
        **{"queue_logits": _queue_logits(config.num_classes), "edge_words": max(32, config.grid_size + 6), **more},
    )


def _queue_logits(classes: int) -> int:
    """Room for four images or more: a power of two, and no less than half a block memory of UltraScale+ holds."""
    return max(512, 1 << (4 * classes - 1).bit_length())


#: Named engines. `digits` runs the demo; the others hold the paper's DeiT shapes.
ENGINES: dict[str, EngineConfig] = {
    "digits": engine_for(vit_preset("digits"), rows=8, columns=16, lanes=16, dense_lanes=16, program_words=512),
    "deit_tiny_6x32": engine_for(
        vit_preset("deit_tiny"), rows=6, columns=32, lanes=32, dense_lanes=192, program_words=4096
    ),
    "deit_tiny_33x32": engine_for(
        vit_preset("deit_tiny"), rows=33, columns=32, lanes=32, dense_lanes=192, program_words=1024
    ),
}


def fabric_for(engine: EngineConfig, name_or_path: str, fabric: Fabric) -> EngineConfig:
    """Return an engine written in the logic that suits a device, where its name or its file leaves that open.

    Parameters
    ----------
    engine : EngineConfig
        What `load_engine` gave for the name.
    name_or_path : str
        A name leaves the fabric open, and so does a file without that field.
    fabric : {"lut6", "lut4"}
    """
    says = name_or_path not in ENGINES and "fabric" in read_json(name_or_path, "an engine")
    return engine if says else replace(engine, fabric=fabric)


def engine_from_dict(values: Any, what: str = "engine configuration") -> EngineConfig:
    """Build an engine from JSON values; `BivitError` names what is missing, unknown, mistyped or out of range."""
    return build(EngineConfig, values, what)


def load_engine(name_or_path: str) -> EngineConfig:
    """Return a named engine, or read one from a JSON file.

    Raises
    ------
    BivitError
        When there is neither such a name nor such a file, or the file is not an engine.
    """
    if name_or_path in ENGINES:
        return ENGINES[name_or_path]
    path = Path(name_or_path)
    check(
        path.is_file(),
        f"there is no engine {name_or_path!r}: neither a file nor one of the names {', '.join(ENGINES)}"
        f"{near(name_or_path, ENGINES)}",
    )
    values = read_json(path, "an engine; write one with `bivit generate --engine NAME`")
    return engine_from_dict(values, f"engine configuration {path}")
