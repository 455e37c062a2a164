"""A network on a dataflow engine: its slot table, the words of all memories, and the cycles that images take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.fields import pack_field
from ..errors import check
from ..flow.config import FlowConfig
from ..flow.edge_settings import edge_setting_bits
from ..flow.machine import all_settings
from ..flow.settings import setting_bits, settings_of
from ..flow.table import SlotTable
from ..network.config import ViTConfig, vit_only
from ..network.file import network_hash
from ..network.network import IntNetwork
from ..timing.plan import plan_of
from ..timing.replay_state import ANSWERED, EMBEDDED, FINISHED, OPERATIONS, STEPS, causes_of, new_state
from ..timing.walk import UNTRACED, replay
from .edge_words import edge_words, network_settings
from .layout import FlowLayout, check_fits
from .shipped import table_of
from .verify import verify_run
from .words import Words, block_words, flow_words


@dataclass(frozen=True)
class FlowCycles:
    """Cycles of a run, from its start on, if no stream ever stalls.

    Parameters
    ----------
    embedded, finished, answered : tuple of int
        Of each image: its x is complete at first, at last; its last logit goes to the queue.
    stalls : dict of str to int
        Cycles without a step of the array by `Cause`, from the first slot to the last operation of the last image. The
        hardware counts on, since it cannot know that nothing follows: its counters `stalls_*` hold these numbers in the
        cycle in which ResidualAdd is given that operation's job (`put`).
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
        bits = all_settings(self.flow)
        settings = [pack_field(value, bits[name], name) for name, value in self.settings.items()]
        return words | edge | {"settings": {0: settings}}

    @property
    def weights(self) -> list[int]:
        """Words of the weights of all blocks."""
        return block_words(self.network, self.flow)["weights"][0]

    @cached_property
    def settings(self) -> dict[str, int]:
        """All settings by name."""
        core = settings_of(vit_only(self.network.config), self.flow, self.table)
        edge = network_settings(self.network, self.flow)
        return {
            **{name: core[name] for name in setting_bits(self.flow)},
            **{name: edge[name] for name in edge_setting_bits(self.flow)},
            "network": int(network_hash(self.network)[:8], 16),
        }

    @property
    def slots(self) -> int:
        """Slots of the table."""
        return len(self.table.slots)

    @property
    def group(self) -> int:
        """Images that go together: each goes for itself."""
        return 1

    @property
    def useful_macs(self) -> int:
        """Binary products of one image that the network needs, without any padding."""
        shape = self.layout.shape
        return self.layout.config.depth * shape.useful

    @cached_property
    def layout(self) -> FlowLayout:
        """Where everything lies, and its tiles and operations."""
        return FlowLayout(vit_only(self.network.config), self.network.formats, self.flow)

    def verify(self) -> None:
        """Check when everything happens, without the model that says so (`verify_run`).

        Raises
        ------
        BivitError
            With the first of the things that are wrong, and when.
        """
        verify_run(vit_only(self.network.config), self.flow, self.table)

    def cycles(self, images: int) -> FlowCycles:
        """Return when the images of a run are answered; as `flow_cycles`.

        Parameters
        ----------
        images : int
            1 or more.
        """
        return flow_cycles(vit_only(self.network.config), self.flow, self.table, images)


def compile_network(network: IntNetwork, flow: FlowConfig, table: SlotTable | None = None) -> FlowProgram:
    """Return what is loaded into an engine, with the slot table that is shipped for the two, or one that is sought.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
    table : SlotTable, optional
        In place of it.

    Raises
    ------
    BivitError
        When the accelerator does not run this family, the network does not fit the engine, or every table locks up.
    """
    config = vit_only(network.config)
    check_fits(config, network.formats, flow)
    return FlowProgram(network, flow, table or table_of(config, flow))


def flow_cycles(config: ViTConfig, flow: FlowConfig, table: SlotTable, images: int) -> FlowCycles:
    """Return when the images of a run are answered, which does not depend on weights.

    Parameters
    ----------
    config : ViTConfig
    flow : FlowConfig
    table : SlotTable
    images : int
        1 or more.

    Raises
    ------
    BivitError
        When the table locks up.
    """
    plan = plan_of(config, flow, table, images)
    state = new_state(plan)
    slots = int(replay(state, plan, UNTRACED))
    check(slots >= 0, f"the slot table locks up after {-1 - slots} slots; give the rings more slots, or search again")
    steps = plan.depth * plan.tiles * int((plan.streams[OPERATIONS] * plan.streams[STEPS]).sum())
    return FlowCycles(
        embedded=_row(state.images, EMBEDDED),
        finished=_row(state.images, FINISHED),
        answered=_row(state.images, ANSWERED),
        stalls={cause.name.lower(): int(state.stalls[cause]) for cause in causes_of(flow.streamed)},
        steps=images * steps,
    )


def _row(images: Any, row: int) -> tuple[int, ...]:
    return tuple(np.asarray(images[row]).tolist())
