"""A network on a dataflow engine: its slot table, the words of all memories, and the cycles that images take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..network.config import vit_only
from ..network.file import network_hash
from ..network.network import IntNetwork
from .array import replay
from .config import FlowConfig
from .edge_settings import EDGE_SETTINGS
from .edge_words import edge_words, network_settings
from .plan import plan_of
from .replay_state import ANSWERED, EMBEDDED, FINISHED, OPERATIONS, STALLS, STEPS, Cause, new_state
from .settings import setting_bits, settings_of
from .table import SlotTable
from .words import Words, flow_words


@dataclass(frozen=True)
class FlowCycles:
    """Cycles of a run, from its start on, if no stream ever stalls.

    Parameters
    ----------
    embedded, finished, answered : tuple of int
        Of each image: its x is complete at first, at last; its last logit goes to the queue.
    stalls : dict of str to int
        Cycles without a step of the array by cause, in slots up to the last image's answer.
    steps : int
        Cycles in which the array takes a step.
    """

    embedded: tuple[int, ...]
    finished: tuple[int, ...]
    answered: tuple[int, ...]
    stalls: dict[str, int]
    steps: int

    @property
    def total(self) -> int:
        """What the register CYCLES holds: from the cycle after the start to that of the last logit."""
        return self.answered[-1]


@dataclass(frozen=True)
class FlowProgram:
    """What is loaded into a dataflow engine.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
    table : SlotTable
    """

    network: IntNetwork
    flow: FlowConfig
    table: SlotTable

    @cached_property
    def words(self) -> Words:
        """Words of every memory: name to words by the address of the first."""
        words = flow_words(self.network, self.flow, self.table)
        edge = {name: {0: list(run)} for name, run in edge_words(self.network, self.flow).items()}
        return words | edge | {"settings": {0: list(self.settings.values())}}

    @cached_property
    def settings(self) -> dict[str, int]:
        """All settings by name."""
        core = settings_of(vit_only(self.network.config), self.flow, self.table)
        edge = network_settings(self.network, self.flow)
        return {
            **{name: core[name] for name in setting_bits(self.flow)},
            **{name: edge[name] for name, _ in EDGE_SETTINGS},
            "network": int(network_hash(self.network)[:8], 16),
        }

    def cycles(self, images: int) -> FlowCycles:
        """Return when the images of a run are answered.

        Parameters
        ----------
        images : int
            1 or more.

        Raises
        ------
        BivitError
            When the table locks up.
        """
        plan = plan_of(vit_only(self.network.config), self.flow, self.table, images)
        state = new_state(plan)
        slots = int(replay(state, plan))
        assert slots >= 0, f"the table locks up after {-1 - slots} slots"
        steps = plan.depth * plan.tiles * int((plan.streams[OPERATIONS] * plan.streams[STEPS]).sum())
        embedded, finished, answered = (_row(state.images, row) for row in (EMBEDDED, FINISHED, ANSWERED))
        stalls = {cause.name.lower(): int(state.clock[STALLS + cause]) for cause in Cause}
        return FlowCycles(embedded, finished, answered, stalls, images * steps)


def _row(images: Any, row: int) -> tuple[int, ...]:
    return tuple(np.asarray(images[row]).tolist())
