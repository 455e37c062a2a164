"""What one process of `bivit bench` measures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class ModelJob:
    """A preset at one batch size on so many threads; `engines` are the others to compare with."""

    preset: str
    batch: int
    threads: int
    rounds: int
    engines: tuple[str, ...]

    @property
    def argument(self) -> str:
        """For the command line of the job's process."""
        return json.dumps(asdict(self))
