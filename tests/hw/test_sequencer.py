"""The sequencer: issue times, the block loop with its bases, images, and what the streams cost."""

import pytest
from amaranth.sim import Simulator

from bivit.hw.parts.stream import given
from bivit.hw.sequencer import Sequencer
from bivit.sim.engine.commands import COMMANDS, ISSUED, Instruction
from bivit.sim.engine.presets import engine_for
from bivit.sim.network.presets import preset
from helpers import CLK_PERIOD, load_memory

ENGINE = engine_for(preset("digits"), rows=2, columns=8, lanes=8, dense_lanes=8, program_words=16)
BY_NAME = {command.name: command for command in COMMANDS}
WATCHED = ("embed", "matmul", "sign_norm", "output")


def instruction(op, delay=2, **fields):
    command = BY_NAME[op]
    return Instruction(command(**dict.fromkeys(command.layout(), 0) | fields), delay)


PROGRAM = [
    instruction("embed", 5, token=1),
    instruction("matmul", 3, w_addr=100, a_addr=7, preload=1, preload_addr=1, epilogue=1, param_addr=2),
    instruction("matmul", 2, w_mem=1, w_addr=50, preload=2, preload_addr=3, param_addr=4),
    instruction("sign_norm", 4, param_addr=3, eps=1),
    instruction(
        "loop",
        2,
        target=1,
        count=3,
        weights_step=1000,
        preload_step=10,
        sign_norm_step=30,
        residual_step=20,
        eps_step=2,
    ),
    instruction("output", 6, classes=9),
    instruction("end", 2),
]
EPS = [5, 6, 7, 8, 9, 10]


def run(images, *, strip=lambda cycle: True, hold=lambda cycle: False, cycles=120):
    """Return issues as (cycle, op, some fields), the cycle of done, and both stall counts."""
    unit = Sequencer(ENGINE)
    issues, ended, stalls = [], [], [0, 0]

    async def bench(ctx):
        ctx.set(unit.bank, 1)
        memories = ENGINE.load_memories
        await load_memory(ctx, unit.load, memories["program"], [i.encode() for i in PROGRAM])
        await load_memory(ctx, unit.load, memories["norm_eps"], EPS)
        ctx.set(unit.bank, 0)
        ctx.set(unit.limit, images)
        ctx.set(unit.start, 1)
        for cycle in range(cycles):
            ctx.set(unit.strip, strip(cycle))
            ctx.set(unit.hold, hold(cycle))
            for op in WATCHED:
                command = getattr(unit.command, op)
                if ctx.get(command.issue):
                    issues.append((cycle, op, ctx.get(command.fields)))
            stalls[0] += ctx.get(unit.stall_pixels)
            stalls[1] += ctx.get(unit.stall_logits)
            if ctx.get(unit.done):
                ended.append(cycle)
            await ctx.tick()
            ctx.set(unit.start, 0)

    sim = Simulator(unit)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()
    return issues, ended, stalls


def test_issue_times_follow_the_delays():
    issues, ended, stalls = run(1)
    block = [(7, "matmul"), (10, "matmul"), (12, "sign_norm")]
    times = [(2, "embed")]
    for k in range(3):
        times += [(cycle + 11 * k, op) for cycle, op in block]
    times.append((40, "output"))
    assert [(cycle, op) for cycle, op, _ in issues] == times
    assert ended == [45]  # chosen, not issued: one cycle earlier than an operation would be
    assert stalls == [0, 0]


def test_blocks_move_on_to_their_parameters():
    issues, _, _ = run(2)
    for image in range(2):
        mine = issues[image * 11 : image * 11 + 11]
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
    issues, ended, _ = run(2)
    first, second = issues[:11], issues[11:]
    assert [(cycle + 46, op) for cycle, op, _ in first] == [(cycle, op) for cycle, op, _ in second]
    assert ended == [91]


def test_streams_shift_everything_and_are_counted():
    plain, _, _ = run(1)
    late, ended, stalls = run(1, strip=lambda cycle: cycle >= 8, hold=lambda cycle: 30 <= cycle < 34)
    assert stalls == [7, 4]
    assert ended == [45 + 11]
    shifts = [cycle - before for (cycle, *_), (before, *_) in zip(late, plain, strict=True)]
    assert shifts[0] == 7
    assert shifts[-1] == 11
    assert set(shifts) == {7, 11}


def cut(lower_at, limit, images=3, cycles=130):
    """Lower the limit in a cycle; return the cycle of `done`, whether it was a cut, and the issues."""
    unit = Sequencer(ENGINE)
    found, issues = [], []

    async def bench(ctx):
        ctx.set(unit.bank, 1)
        await load_memory(ctx, unit.load, ENGINE.load_memories["program"], [i.encode() for i in PROGRAM])
        ctx.set(unit.bank, 0)
        ctx.set(unit.strip, 1)
        ctx.set(unit.limit, images)
        ctx.set(unit.start, 1)
        for cycle in range(cycles):
            if cycle == lower_at:
                ctx.set(unit.limit, limit)
            issues.extend((cycle, kind.name) for kind in ISSUED if ctx.get(given(unit.command, kind).issue))
            if ctx.get(unit.done):
                found.append((cycle, ctx.get(unit.cut)))
            await ctx.tick()
            ctx.set(unit.start, 0)

    sim = Simulator(unit)
    sim.add_clock(CLK_PERIOD)
    sim.add_testbench(bench)
    sim.run()
    return found, issues


@pytest.mark.parametrize(
    ("lower_at", "limit", "ends"),
    [
        (20, 0, (21, 1)),  # the image at hand will not come
        (20, 1, (45, 0)),  # the image at hand is the last one
        (45, 1, (47, 1)),  # in the cycle of its end
        (44, 1, (45, 0)),
        (60, 1, (61, 1)),
        (60, 2, (91, 0)),
        (90, 2, (91, 0)),
    ],
)
def test_a_lower_limit_ends_the_run(lower_at, limit, ends):
    found, issues = cut(lower_at, limit)
    assert found == [ends]
    assert max(cycle for cycle, _ in issues) <= ends[0]
