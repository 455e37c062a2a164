"""The sequencers: issue times, the block loop with its bases, images, and what an image waits for."""

import pytest
from amaranth.sim import Simulator

from bivit.hw.parts.stream import given
from bivit.hw.sequencer import Sequencer
from bivit.sim.engine.commands import COMMANDS, CORE, EDGE, JUMP_DELAY
from bivit.sim.engine.instructions import Instruction
from bivit.sim.engine.presets import engine_for
from bivit.sim.errors import BivitError
from bivit.sim.network.presets import preset
from helpers import CLK_PERIOD, load_memory

ENGINE = engine_for(preset("digits"), rows=2, columns=8, lanes=8, dense_lanes=8, program_words=16)
BY_NAME = {command.name: command for command in COMMANDS}


def instruction(op, delay=2, **fields):
    command = BY_NAME[op]
    return Instruction(command(**dict.fromkeys(command.layout(), 0) | fields), delay)


LOOP = {"weights_step": 1000, "preload_step": 10, "sign_norm_step": 30, "residual_step": 20, "eps_step": 2}
PROGRAMS = {
    CORE: [
        instruction("wait", 2),
        instruction("matmul", 3, w_addr=100, a_addr=7, preload=1, preload_addr=1, epilogue=1, param_addr=2),
        instruction("matmul", 2, w_mem=1, w_addr=50, preload=2, preload_addr=3, param_addr=4),
        instruction("sign_norm", 4, param_addr=3, eps=1),
        instruction("loop", 4, target=1, count=3, **LOOP),
        instruction("normalise", 6),
        instruction("tell", 2),
        instruction("end", 4),
    ],
    EDGE: [
        instruction("embed", 5, token=1),
        instruction("tell", 2),
        instruction("wait", 3),
        instruction("output", 6, classes=9),
        instruction("end", 4),
    ],
}
EPS = [5, 6, 7, 8, 9, 10]


def run(process, *, cycles=120, starts=(0,), cut=(), **inputs):
    """Return issues as (cycle, op, fields), the cycles of each strobe, and the count of starved cycles.

    `inputs` are functions of the cycle, for `strip`, `told` and `hold`; the first two are 1 where not given.
    """
    unit = Sequencer(ENGINE, process)
    issues, strobes, starved = [], {"tell": [], "waited": [], "image_done": []}, 0
    inputs = {"strip": lambda cycle: 1, "told": lambda cycle: 1, "hold": lambda cycle: 0} | inputs

    async def bench(ctx):
        nonlocal starved
        active = False
        ctx.set(unit.bank, 1)
        memories = ENGINE.load_memories
        await load_memory(ctx, unit.load, memories[process.memory], [i.encode() for i in PROGRAMS[process]])
        if process is CORE:
            await load_memory(ctx, unit.load, memories["norm_eps"], EPS)
        ctx.set(unit.bank, 0)
        for cycle in range(cycles):
            ctx.set(unit.start, cycle in starts)
            for name, value in inputs.items():
                ctx.set(getattr(unit, name), value(cycle))
            ctx.set(unit.cut, cycle in cut)
            for kind in process.issued:
                command = given(unit.command, kind)
                if ctx.get(command.issue):
                    issues.append((cycle, kind.name, ctx.get(command.fields)))
            for name, seen in strobes.items():
                if ctx.get(getattr(unit, name)):
                    seen.append(cycle)
            starved += ctx.get(unit.starved)
            await ctx.tick()
            active = cycle not in cut and (active or cycle in starts)
            ctx.set(unit.active, active)

    sim = Simulator(unit)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()
    return issues, strobes, starved


def times_of(issues):
    return [(cycle, op) for cycle, op, _ in issues]


#: Cycle in which the first operation is chosen.
FIRST = JUMP_DELAY
#: Issues of an image of the core from the cycle in which its `wait` is chosen.
CORE_TIMES = [
    *((cycle + 13 * k, op) for k in range(3) for cycle, op in [(3, "matmul"), (6, "matmul"), (8, "sign_norm")]),
    (42, "normalise"),
]
#: From there to the next image's.
CORE_CYCLES = 53


def test_issue_times_follow_the_delays():
    issues, strobes, _ = run(CORE, cycles=55)
    assert times_of(issues) == [(FIRST + cycle, op) for cycle, op in CORE_TIMES]
    # Chosen, not issued: one cycle earlier than an operation would be.
    assert strobes == {"waited": [FIRST], "tell": [FIRST + 47], "image_done": [FIRST + 49]}


def test_blocks_move_on_to_their_parameters():
    issues, _, _ = run(CORE, cycles=2 * CORE_CYCLES)
    for image in range(2):
        mine = issues[image * 10 : image * 10 + 10]
        layers = [fields for _, op, fields in mine if op == "matmul" and fields.w_mem == 0]
        assert [f.w_addr for f in layers] == [100, 1100, 2100]
        assert [f.preload_addr for f in layers] == [1, 11, 21]
        assert [f.param_addr for f in layers] == [2, 22, 42]
        assert [f.a_addr for f in layers] == [7, 7, 7]
        keys = [fields for _, op, fields in mine if op == "matmul" and fields.w_mem == 1]
        assert [(f.w_addr, f.preload_addr, f.param_addr) for f in keys] == [(50, 3, 4)] * 3
        norms = [fields for _, op, fields in mine if op == "sign_norm"]
        assert [f.param_addr for f in norms] == [3, 33, 63]
        assert [f.eps for f in norms] == [6, 8, 10]


def test_second_image_follows_the_first():
    issues, strobes, _ = run(CORE, cycles=FIRST + 2 * CORE_CYCLES)
    first, second = FIRST, FIRST + CORE_CYCLES
    assert times_of(issues) == [(start + cycle, op) for start in (first, second) for cycle, op in CORE_TIMES]
    assert strobes["image_done"] == [first + 49, second + 49]


@pytest.mark.parametrize("late", [0, 1, 7])
def test_an_image_begins_when_the_other_process_has_told(late):
    issues, strobes, _ = run(CORE, cycles=55 + late, told=lambda cycle: cycle >= FIRST + late)
    assert strobes["waited"] == [FIRST + late]
    assert times_of(issues) == [(FIRST + cycle + late, op) for cycle, op in CORE_TIMES]


def test_the_edge_waits_for_strips_for_the_core_and_for_room():
    plain, strobes, starved = run(EDGE, cycles=23)
    assert times_of(plain) == [(5, "embed"), (15, "output")]
    assert (strobes, starved) == ({"tell": [9], "waited": [11], "image_done": [20]}, 0)
    late, strobes, starved = run(
        EDGE,
        cycles=60,
        strip=lambda cycle: cycle == 8,
        told=lambda cycle: cycle == 20,
        hold=lambda cycle: 24 <= cycle < 28,
    )
    assert times_of(late) == [(9, "embed"), (24, "output")]
    assert (strobes["tell"], strobes["waited"], strobes["image_done"]) == ([13], [20], [33])
    assert starved == 4 + (60 - 37)  # and the next image has no strip at all


@pytest.mark.parametrize("cut", [4, 12, 20])
def test_a_cut_forgets_what_is_chosen(cut):
    plain, _, _ = run(EDGE, cycles=26)
    again = cut + 3
    issues, _, _ = run(EDGE, cycles=again + 26, starts=(0, again), cut=(cut,))
    assert times_of(issues) == [
        *((cycle, op) for cycle, op in times_of(plain) if cycle <= cut),
        *((again + cycle, op) for cycle, op in times_of(plain)),
    ]


@pytest.mark.parametrize("op", ["loop", "end"])
def test_a_jump_needs_time_to_read_anew(op):
    with pytest.raises(BivitError, match=f"{op}: delay must be 4 to 2"):
        instruction(op, 3).encode()
