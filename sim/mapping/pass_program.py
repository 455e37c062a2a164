"""A network on an engine with windows: words of all memories, and the cycles that images take, pass by pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..engine.fields import pack_field
from ..errors import check
from ..flow.config import FlowConfig
from ..flow.machine import all_settings, load_memories
from ..flow.settings import setting_bits
from ..flow.weight_stream import WeightStreamUnit
from ..network.config import ModelConfig
from ..network.file import network_hash
from ..network.formats import Formats
from ..network.network import IntNetwork
from ..timing.edge_times import edge_plan
from ..timing.passes import RunTimes, run_passes
from ..timing.plan import blocks_in_turn, plan_of
from ..timing.replay_state import Plan, causes_of
from ..timing.trace import trace
from .edge_words import edge_words, network_settings
from .pass_limits import check_windows
from .pass_words import pass_words
from .passes import Pass, passes_of
from .program import FlowCycles
from .verify import verify
from .words import Words, check_room


@dataclass(frozen=True)
class PassSchedule:
    """The passes of a network, and the cycles that images take, which do not depend on weights.

    Parameters
    ----------
    config : ModelConfig
    flow : FlowConfig
        With windows.
    passes : tuple of Pass
    """

    config: ModelConfig
    flow: FlowConfig
    passes: tuple[Pass, ...]

    @property
    def useful_macs(self) -> int:
        """Binary products of one image that the network needs, without any padding."""
        return sum(one.useful for one in self.passes)

    @property
    def slots(self) -> int:
        """Slots of the tables of all passes."""
        return sum(len(one.table.slots) for one in self.passes)

    def verify(self) -> None:
        """Check when everything happens in each pass, without the model that says so.

        Raises
        ------
        BivitError
            With the first of the things that are wrong, and when.
        """
        for passed in self.times(self.group).passes:
            one = self.passes[passed.number]
            if one.view.merge is None:
                # A window that is not the whole image goes through a block at a time.
                block = replace(one.view, depth=blocks_in_turn(one.view))
                verify(block, self.flow, trace(passed.plan))

    @property
    def group(self) -> int:
        """Images that go together."""
        assert self.flow.windows is not None
        return self.flow.windows.images

    def times(self, images: int) -> RunTimes:
        """Return when the images of a run go through the passes.

        Parameters
        ----------
        images : int
            1 or more.

        Raises
        ------
        BivitError
            When the table of a pass locks up.
        """
        found = run_passes(
            self._plans,
            [one.rounds for one in self.passes],
            edge_plan(self.config, self.flow),
            images,
            self.group,
            len(setting_bits(self.flow)),
        )
        if isinstance(found, int):
            check(False, f"the slot table of pass {-1 - found} locks up; give the rings more slots, or search again")
        assert not isinstance(found, int)
        return found

    @cached_property
    def _plans(self) -> list[Plan]:
        return [
            plan_of(one.view, self.flow, one.table, 1)._replace(windows=one.view.windows, group=1)
            for one in self.passes
        ]

    def cycles(self, images: int) -> FlowCycles:
        """Return when the images of a run are answered, if no stream ever stalls.

        Parameters
        ----------
        images : int
            1 or more.
        """
        found = self.times(images)
        return FlowCycles(
            embedded=_row(found.embedded),
            finished=_row(found.finished),
            answered=_row(found.answered),
            stalls={
                cause.name.lower(): sum(int(one.state.stalls[cause]) for one in found.passes)
                for cause in causes_of(self.flow.streamed)
            },
            steps=images * sum(one.steps for one in self.passes),
        )


@dataclass(frozen=True)
class PassProgram(PassSchedule):
    """What is loaded into an engine with windows.

    Parameters
    ----------
    config, flow, passes : ModelConfig, FlowConfig, tuple of Pass
        As of `PassSchedule`.
    network : IntNetwork
    """

    network: IntNetwork

    @cached_property
    def words(self) -> Words:
        """Words of every memory: name to words by the address of the first."""
        words = dict(self._core_words)
        edge = {name: {0: list(run)} for name, run in edge_words(self.network, self.flow).items()}
        bits = all_settings(self.flow)
        settings = [pack_field(value, bits[name], name) for name, value in self.settings.items()]
        words |= edge | {"settings": {0: settings}}
        if self.flow.streamed:
            del words["weights"]
            words["parts"] = {0: WeightStreamUnit(self.flow).list_words(self.config)}
        check_room(words, load_memories(self.flow))
        return words

    @cached_property
    def _core_words(self) -> Words:
        """Words of the core's memories."""
        return pass_words(self.network, self.flow, self.passes)

    @property
    def weights(self) -> list[int]:
        """Words of the weights of all blocks and patch mergings."""
        return self._core_words["weights"][0]

    @cached_property
    def settings(self) -> dict[str, int]:
        """All settings by name; those of the core as of the first pass."""
        core, edge = self.passes[0].settings, network_settings(self.network, self.flow)
        own = {name: core[name] for name in setting_bits(self.flow)}
        rest = [name for name in all_settings(self.flow) if name not in own and name != "network"]
        return {
            **own,
            **{name: edge[name] for name in rest},
            "network": int(network_hash(self.network)[:8], 16),
        }


def schedule_of(config: ModelConfig, formats: Formats, flow: FlowConfig) -> PassSchedule:
    """Return the passes of a network, with the slot tables that are shipped, or sought.

    Parameters
    ----------
    config : ModelConfig
    formats : Formats
    flow : FlowConfig
        With windows.

    Raises
    ------
    BivitError
        When the network does not fit the engine, or every table of a pass locks up.
    """
    check_windows(config, formats, flow)
    return PassSchedule(config, flow, passes_of(config, formats, flow))


def compile_passes(network: IntNetwork, flow: FlowConfig) -> PassProgram:
    """Return what is loaded into an engine with windows.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
        With windows.

    Raises
    ------
    BivitError
        When the network does not fit the engine, or every table of a pass locks up.
    """
    found = schedule_of(network.config, network.formats, flow)
    return PassProgram(found.config, found.flow, found.passes, network)


def _row(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, ...]:
    return tuple(values.tolist())
