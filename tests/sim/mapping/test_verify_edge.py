"""Times of the edge and of x are checked without the model that made them: what does not hold is found."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest
from flow_random import random_engine, trials
from flow_runs import flow_for

from bivit.sim.errors import BivitError
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_settings import edge_settings
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.flow.residual_add import ResidualAddUnit
from bivit.sim.flow.streams import Stream
from bivit.sim.flow.table import SlotTable
from bivit.sim.mapping import verify as module
from bivit.sim.mapping.program import FlowProgram
from bivit.sim.mapping.shipped import sought, table_of
from bivit.sim.mapping.verify import problems, verify, verify_run
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.presets import vit_preset
from bivit.sim.network.random import random_network
from bivit.sim.timing.edge_times import EdgeWork, edge_work
from bivit.sim.timing.plan import plan_of
from bivit.sim.timing.replay_state import ANSWERED, new_state
from bivit.sim.timing.trace import Taken, trace

DIGITS = replace(vit_preset("digits"), depth=2)
#: Two rows are normed, prefix tokens are written, the classes are in three groups.
DISTILLED = replace(DIGITS, class_token=True, dist_token=True, pool="token", num_classes=40)
NETWORKS = {"mean": DIGITS, "distilled": DISTILLED}
#: Sums of 4 patches x 16 channels leave in 8 cycles, a group has 4 steps: the way out is what keeps the next one.
WIDTHS = {"drain_rows": 2, "norm_lanes": 8, "head_norm_lanes": 16, "softmax_lanes": 16}
NARROW: dict[str, Any] = {**WIDTHS, "dense_patches": 4, "dense_channels": 16}


@cache
def run(name: str) -> tuple[ViTConfig, FlowConfig, tuple[Taken, ...], EdgeWork]:
    """A run of a network that uses every bank of x twice: its slots, and what the edge began."""
    config = NETWORKS[name]
    flow = flow_for(config, 4, 16, **NARROW)
    flow = replace(flow, engine=replace(flow.engine, lanes=8))
    plan = plan_of(config, flow, sought(config, flow, tries=1), EdgeUnit(flow).banks + 1)
    state = new_state(plan)
    slots = trace(plan, state)
    return config, flow, tuple(slots), edge_work(plan.edge, state.edge, state.images[ANSWERED])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_s_times_hold(name: str) -> None:
    config, flow, slots, work = run(name)
    assert verify(config, flow, slots, edge=work) == verify(config, flow, slots)
    assert len(work.opened) > EdgeUnit(flow).banks
    assert len(work.passes[0]) * len(work.opened) > edge_settings(config, flow, 1)["pass_slots"]


def change(field: str, by: int, image: int, at: int | None = None) -> Callable[[EdgeWork], None]:
    """Something that begins, or is there, at another time."""

    def do(work: EdgeWork) -> None:
        where, place = getattr(work, field), image
        if at is not None:
            where, place = where[image], at
        where[place] += by

    return do


def too_early(work: EdgeWork) -> None:
    """The first pass of image 1 comes with the second one of image 0."""
    work.passes[1][0] = work.passes[0][1] + 1


def with_the_classes(work: EdgeWork) -> None:
    """The last norm begins when classes of the image before are summed."""
    work.norms[1] = work.classes[0] + 1


def behind_a_pass(work: EdgeWork) -> None:
    """Where classes would begin a pass begins, and they come behind it."""
    work.passes[4][-1] = work.classes[0]
    work.classes[0] += 100


def wrong(name: str, changed: Callable[[EdgeWork], None]) -> str:
    """All that is wrong with another beginning."""
    config, flow, slots, work = run(name)
    other = deepcopy(work)
    changed(other)
    return "; ".join(what for _, what in problems(config, flow, slots, edge=other)[1])


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (too_early, "the multipliers do two things at a time"),
        (too_early, "pass of image 1 begins before the last sums have left"),
        (change("passes", -2, 1, 1), "sums are added to before they have left"),
        (change("whole", 1 << 20, 2, 0), "pass 0 of image 2 begins before its pixels are there"),
        (change("whole", -(1 << 20), 4, 1), "pixels of pass 1 of image 4 are written over those of an earlier one"),
        (change("norms", -40, 0), "the last norm begins before x of image 0 is complete"),
        (change("norms", 1 << 20, 0), "classes begin before y of image 0 is there"),
        (change("classes", -1, 2), "classes begin before y of image 2 is there"),
        (behind_a_pass, "a pass begins while classes of image 0 wait"),
        (with_the_classes, "y of image 0 is written over before it is read"),
        (change("opened", -(1 << 20), 4), "image 4 is opened before its bank of x is free"),
        (change("passes", 1 << 20, 0, -1), "x of Tile(image=0, block=0, tile=0) is read before it is written"),
    ],
)
def test_another_beginning_is_found(changed: Callable[[EdgeWork], None], what: str) -> None:
    assert what in wrong("mean", changed)


def test_prefix_tokens_that_are_on_their_way_are_found() -> None:
    what = "pass of image 1 begins before the last sums have left"
    assert what not in wrong("distilled", change("opened", 1, 1))
    assert what in wrong("distilled", change("opened", 4, 1))


def test_x_that_is_written_later_than_the_model_says_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    config, flow, slots, work = run("mean")
    monkeypatch.setattr(ResidualAddUnit, "write_stage", property(lambda unit: 500))
    found = "; ".join(what for _, what in problems(config, flow, slots, edge=work)[1])
    assert "x of Tile(image=0, block=0" in found
    assert "the last norm begins before x of image 3 is complete" in found


def test_sums_that_leave_later_than_the_model_says_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    config, flow, slots, work = run("distilled")
    monkeypatch.setattr(EdgeUnit, "x_stage", property(lambda unit: 200))
    found = "; ".join(what for _, what in problems(config, flow, slots, edge=work)[1])
    assert "begins before the last sums have left" in found
    assert "x of Tile(image=0, block=0, tile=0) is read before" in found


def test_classes_do_not_wait_where_the_core_waits_for_the_embedding() -> None:
    """An image is finished long before the next one is embedded, and its classes come before what is left of that."""
    config = replace(DIGITS, depth=1, patch_size=4)
    flow = flow_for(config, 4, 16, **{**NARROW, "dense_patches": 1})
    verify_run(config, flow, sought(config, flow, tries=1))


@pytest.mark.parametrize(
    ("engine", "network"), [("sim", "digits"), ("zcu102", "deit_tiny"), ("latency", "fashion_cls")]
)
def test_named_engines_hold_from_pixels_to_logits(engine: str, network: str) -> None:
    config, flow = vit_preset(network), FLOW_ENGINES[engine]
    verify_run(config, flow, table_of(config, flow, tries=0))


@pytest.mark.slow
def test_random_engines_networks_and_tables_hold_or_lock_up() -> None:
    """What `tests/tools/flow_campaign.py` runs in RTL; rings this small lock up with some tables."""
    held, refused = 0, list[str]()
    for seed in range(20):
        for one in trials(random_engine(Random(seed)), 1000 * seed, 4):
            try:
                one.program.verify()
                held += 1
            except BivitError as error:
                refused.append(f"engine {seed}, network {one.seed}: {error}")
    assert [message for message in refused if "locks up" not in message] == []
    assert held > 2 * len(refused) > 0


def test_a_program_is_refused_whose_times_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    config, flow, _, work = run("mean")
    program = FlowProgram(random_network(config, seed=1), flow, sought(config, flow, tries=1))
    program.verify()
    locked = replace(program, table=SlotTable((Stream.SCORES, Stream.FC2), dict.fromkeys(Stream, 0)))
    with pytest.raises(BivitError, match="locks up"):
        locked.verify()
    monkeypatch.setattr(module, "edge_work", lambda *_: work._replace(norms=work.classes))
    with pytest.raises(
        BivitError, match=r"wrong in \d+ places: .*; cycle \d+: classes begin before y of image 0 is there"
    ):
        program.verify()
