"""Limits of an engine, of whichever kind: what a network needs of each, and whether it is within them."""

from __future__ import annotations

from ..errors import check
from ..network.config import ModelConfig, ViTConfig
from ..network.formats import Formats
from .config import EngineConfig


def check_limits(config: ViTConfig, formats: Formats, engine: EngineConfig) -> None:
    """Check the number formats and every limit.

    Parameters
    ----------
    config : ViTConfig
    formats : Formats
    engine : EngineConfig

    Raises
    ------
    BivitError
        Naming the formats, or every limit that the network exceeds.
    """
    check_formats(formats, engine)
    few = [(name, what, size) for name, (what, size) in needs(config).items() if size > getattr(engine, name)]
    check(
        not few,
        "the engine is too small: "
        + "; ".join(f"{what} at most {getattr(engine, name)} ({name}), the network has {n}" for name, what, n in few),
    )


def check_formats(formats: Formats, engine: EngineConfig) -> None:
    """Check the number formats.

    Parameters
    ----------
    formats : Formats
    engine : EngineConfig

    Raises
    ------
    BivitError
        With both.
    """
    check(
        formats == engine.formats,
        f"the network's number formats {formats} are not the engine's {engine.formats}; generate the engine with them",
    )


def check_strips(config: ModelConfig, engine: EngineConfig) -> None:
    """Check that a row of patches is a whole number of beats.

    Parameters
    ----------
    config : ViTConfig
    engine : EngineConfig

    Raises
    ------
    BivitError
        With both numbers.
    """
    strip = config.img_size * config.patch_size * config.in_chans
    check(
        strip % engine.pixel_bytes == 0,
        f"a row of patches has {strip} bytes, no multiple of the engine's pixel_bytes ({engine.pixel_bytes})",
    )


def needs(config: ViTConfig) -> dict[str, tuple[str, int]]:
    """Return what a network needs of each limit of an engine: by the limit's name, words for messages and a size.

    Parameters
    ----------
    config : ViTConfig
    """
    return {
        "max_tokens": ("tokens", config.num_tokens),
        "max_embed_dim": ("embed_dim", config.embed_dim),
        "max_hidden_dim": ("MLP hidden dim", config.hidden_dim),
        "max_heads": ("num_heads", config.num_heads),
        "max_depth": ("depth", config.depth),
        "max_classes": ("num_classes", config.num_classes),
        "max_patch_dim": ("pixels a patch", config.patch_dim),
        "max_strip_bytes": ("bytes a row of patches", config.img_size * config.patch_size * config.in_chans),
    }
