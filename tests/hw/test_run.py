"""A run: which images it has, when it ends."""

import pytest
from amaranth.sim import Simulator

from bivit.hw.run import Run
from helpers import CLK_PERIOD

#: Cycles of an image, and of the first one's end.
IMAGE, FIRST = 46, 45


def ends(limits, *, stops=(), holds=(), images_done=(FIRST, FIRST + IMAGE), cycles=130):
    """Change the limit in cycles; return the cycles of `done`, and whether each was a cut."""
    unit, found = Run(), []

    async def bench(ctx):
        ctx.set(unit.start, 1)
        for cycle in range(cycles):
            if cycle in limits:
                ctx.set(unit.limit, limits[cycle])
            ctx.set(unit.stop, cycle in stops)
            ctx.set(unit.hold, cycle in holds)
            ctx.set(unit.image_done, cycle in images_done)
            if ctx.get(unit.done):
                found.append((cycle, ctx.get(unit.cut)))
            await ctx.tick()
            ctx.set(unit.start, 0)
        assert not ctx.get(unit.busy)

    sim = Simulator(unit)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()
    return found


@pytest.mark.parametrize(
    ("lower_at", "limit", "end"),
    [
        (20, 0, (22, 1)),  # the image at hand will not come
        (20, 1, (45, 0)),  # the image at hand is the last one
        (45, 1, (48, 1)),  # in the cycle of its end
        (44, 1, (45, 0)),
        (60, 1, (62, 1)),
        (60, 2, (91, 0)),
        (90, 2, (91, 0)),
    ],
)
def test_a_lower_limit_ends_the_run(lower_at, limit, end):
    assert ends({0: 3, lower_at: limit}) == [end]


def test_a_run_ends_after_its_images():
    assert ends({0: 1}) == [(FIRST, 0)]
    assert ends({0: 2}) == [(FIRST + IMAGE, 0)]


def test_a_stop_does_not_wait_for_room():
    assert ends({0: 2}, stops=(20,)) == [(FIRST + IMAGE, 0)]
    assert ends({0: 2}, stops=(20,), holds=range(30, 200), images_done=()) == [(31, 1)]
    assert ends({0: 2}, stops=(60,), holds=range(30, 200), images_done=()) == [(62, 1)]
