"""What a load stream and the registers need to know of an engine, of whichever kind."""

from __future__ import annotations

from typing import Any, Protocol

from .config import Fabric
from .words import LoadMemory


class Target(Protocol):
    """An engine that can be loaded, and that says what it is."""

    @property
    def load_memories(self) -> dict[str, LoadMemory]:
        """Loadable memories by name."""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""

    def fingerprint(self) -> int:
        """64 bits that tell engines apart."""

    @property
    def rows(self) -> int:
        """Tokens a tile."""

    @property
    def columns(self) -> int:
        """Channels a tile."""

    @property
    def lanes(self) -> int:
        """Elements a cycle."""

    @property
    def pixel_bytes(self) -> int:
        """Bytes a beat of the pixel stream."""

    @property
    def memory_bits(self) -> int:
        """Bits of the port that weights are read by, 0 where there is none."""

    @property
    def edge_streamed(self) -> bool:
        """Whether what the edge reads once an image comes by that port as well."""

    @property
    def fabric(self) -> Fabric:
        """Logic that it is written in."""

    @property
    def queue_logits(self) -> int:
        """Logits that the queue holds."""
