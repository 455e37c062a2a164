"""Times at which patches are normalised are checked without the model that made them: what does not hold is found."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
from flow_edge import tiny
from windowed import tiny_swin, windowed_for

from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.residual_add import ResidualAddUnit
from bivit.sim.mapping.verify_edge import Add, edge_problems
from bivit.sim.network.config import ModelConfig
from bivit.sim.timing.edge_times import UNKNOWN, EdgeWork, edge_plan, edge_state, edge_until, edge_work
from bivit.sim.timing.trace import Tile

#: Images of a run, and cycles in which the blocks have each.
IMAGES, DELAY = 5, 700
SWIN = tiny_swin(img_size=8)
FLOW = windowed_for([SWIN], dense_patches=4)


def run(config: ModelConfig, flow: FlowConfig, images: int = IMAGES) -> tuple[EdgeWork, list[Add]]:
    """What the edge begins, and what blocks read as early as they can, and write at the end."""
    plan = edge_plan(config, flow)
    state = edge_state(plan, images)
    finished, embedded, done = (np.full(images, UNKNOWN, np.int64) for _ in range(3))
    now = 0
    while done[-1] == UNKNOWN:
        edge_until(state, plan, finished, embedded, done, now)
        known = embedded != UNKNOWN
        finished[known] = embedded[known] + DELAY
        now += 1
    stage = ResidualAddUnit(flow).x_read_stage
    adds = [
        Add(int(there) + 1 - stage, int(last), Tile(image, 0, 0), 0)
        for image, (there, last) in enumerate(zip(embedded, finished, strict=True))
    ]
    return edge_work(plan, state, done), adds


def wrong(changed: Callable[[EdgeWork], None], earlier: int = 0) -> str:
    """All that is wrong with another beginning."""
    work, adds = run(SWIN, FLOW)
    changed(work)
    moved = [add._replace(start=add.start - earlier) for add in adds]
    return "; ".join(what for _, what in edge_problems(SWIN, FLOW, work, moved))


def test_the_model_s_times_hold() -> None:
    work, adds = run(SWIN, FLOW)
    assert edge_problems(SWIN, FLOW, work, adds) == []
    assert UNKNOWN not in work.patched
    assert ResidualAddUnit(FLOW).banks < IMAGES


def test_patches_of_a_deit_are_not_normalised() -> None:
    deit = tiny(img_size=4)
    flow = windowed_for([SWIN, deit])
    work, adds = run(deit, flow)
    assert set(work.patched) == {UNKNOWN}
    assert edge_problems(deit, flow, work, adds) == []
    other = deepcopy(work)
    other.patched[0] = 100
    assert [what for _, what in edge_problems(deit, flow, other, adds)] == [
        "patches are normalised that have positions"
    ]


def test_another_beginning_is_found() -> None:
    def move(image: int, by: int) -> Callable[[EdgeWork], None]:
        return lambda work: work.patched.__setitem__(image, work.patched[image] + by)

    assert wrong(move(1, 0)) == ""
    assert wrong(move(0, -2)) == "patches of image 0 are normalised before they are there"
    behind = "patches of image 1 are normalised before those of the image before have been read"
    assert wrong(move(1, -1)) == wrong(move(0, 1)).partition(";")[0] == behind
    assert "x of Tile(image=1, block=0, tile=0) is read before it is written" in wrong(move(1, 1))


def test_x_that_is_read_before_it_is_normalised_is_found() -> None:
    assert "x of Tile(image=0, block=0, tile=0) is read before it is written" in wrong(lambda work: None, earlier=1)


def test_a_norm_that_takes_longer_than_the_model_says_is_found() -> None:
    work, adds = run(SWIN, FLOW)
    formats = replace(FLOW.engine.formats, head_m=50)
    slower = replace(FLOW, engine=replace(FLOW.engine, formats=formats))
    assert "is read before it is written" in "; ".join(what for _, what in edge_problems(SWIN, slower, work, adds))


def test_an_image_is_embedded_a_norm_later() -> None:
    plan = edge_plan(SWIN, FLOW)
    bare = plan._replace(patch_norm=0, patch_norm_next=0)
    found = []
    for one in (plan, bare):
        state = edge_state(one, 1)
        finished, embedded, done = (np.full(1, UNKNOWN, np.int64) for _ in range(3))
        edge_until(state, one, finished, embedded, done, 100_000)
        found.append(embedded[0])
    assert found[0] - found[1] == 2 + plan.patch_norm
