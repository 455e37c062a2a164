"""When the images of a run go through the passes of a network: groups of images one after the other, pass by pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .edge_times import EdgePlan, EdgeState, edge_embeds, edge_state, edge_until
from .replay import FOREVER
from .replay_state import FINISHED, UNKNOWN, Plan, State, new_state
from .walk import UNTRACED, replay

#: From the cycle in which the last image of a group is embedded to that in which its first pass is looked up.
GROUP_CYCLES = 1
#: From there, or from the end of the pass before, to the reset of the core, beside a cycle for each setting.
PASS_CYCLES = 7
#: From the end of the last pass to that in which the first image of the group counts as finished; others follow.
LEAVE_CYCLES = 2


class Passed(NamedTuple):
    """A group's way through one pass.

    Parameters
    ----------
    number : int
        Of the pass.
    group : int
        Images of the group.
    begin, end : int
        First slot, and last write of x.
    plan : Plan
    state : State
        After its last slot.
    """

    number: int
    group: int
    begin: int
    end: int
    plan: Plan
    state: State


class RunTimes(NamedTuple):
    """Cycles of a run.

    Parameters
    ----------
    embedded, finished, answered : int64 [images]
    passes : list of Passed
    edge : EdgeState
    """

    embedded: Any
    finished: Any
    answered: Any
    passes: list[Passed]
    edge: EdgeState


def run_passes(
    plans: Sequence[Plan], rounds: Sequence[int], edge: EdgePlan, images: int, group: int, settings: int
) -> RunTimes | int:
    """Return when the images of a run go through the passes; less one the number of a pass whose table locks up.

    Parameters
    ----------
    plans : sequence of Plan
        Of each pass, with its windows; images, group and begin are set here.
    rounds : sequence of int
        How often all windows go through each pass.
    edge : EdgePlan
    images, group : int
        Of the run; that go together, at most.
    settings : int
        Words that are replaced from pass to pass.
    """
    state = edge_state(edge, images)
    embedded, finished, answered = (np.full(images, UNKNOWN, np.int64) for _ in range(3))
    passes, free = list[Passed](), 0
    for first in range(0, images, group):
        count = min(group, images - first)
        edge_embeds(state, edge, finished, embedded, answered, first + count - 1)
        now = max(free, int(embedded[first + count - 1])) + GROUP_CYCLES
        for number, (plan, times) in enumerate(zip(plans, rounds, strict=True)):
            begin = now + settings + PASS_CYCLES + plan.begin
            mine = plan._replace(images=times * count * plan.windows, group=count, begin=begin)
            of = new_state(mine)
            if replay(of, mine, UNTRACED) < 0:
                return -1 - number
            now = int(of.images[FINISHED, -1])
            passes.append(Passed(number, count, begin, now, mine, of))
        finished[first : first + count] = now + LEAVE_CYCLES + np.arange(count)
        free = int(finished[first + count - 1]) - 1  # it is told a cycle later
    edge_until(state, edge, finished, embedded, answered, FOREVER)
    return RunTimes(embedded, finished, answered, passes, state)
