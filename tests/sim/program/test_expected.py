"""What the co-simulation expects: every element of every tap, once, and nothing twice."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from shapes import MODES, random_images, tiny_engine

from bivit.hw.probes import probes
from bivit.sim.network.formats import Formats
from bivit.sim.network.random import random_network
from bivit.sim.network.taps import tap_shapes
from bivit.sim.program.compiler import compile_network, compile_program
from bivit.sim.program.encode import Sections
from bivit.sim.program.expected import expected_writes
from bivit.sim.program.schedule import EarliestFirst, InOrder
from bivit.sim.reference.run import run_reference
from bivit.sim.units.machine import Machine


@pytest.mark.parametrize("policy", [InOrder(), EarliestFirst()], ids=["in_order", "earliest_first"])
@pytest.mark.parametrize("mode", MODES)
def test_writes_cover_every_tap_and_say_its_values(mode, policy):
    config = MODES[mode]
    network, engine = random_network(config, seed=2), tiny_engine()
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (2, config.img_size, config.img_size, config.in_chans), dtype=np.uint8)
    taps = run_reference(network, images, taps="all").taps
    ports = {probe.name: probe for probe in probes(engine)}
    seen: dict[str, Counter[tuple[int, ...]]] = {name: Counter() for name in taps}
    for writes in expected_writes(network, compile_network(network, engine, policy=policy), taps, 1):
        assert writes.keys.shape == (len(writes.values), len(ports[writes.probe].keys))
        assert writes.values.shape == writes.valid.shape == (len(writes.keys), ports[writes.probe].elements)
        for write, element in zip(*np.nonzero(writes.valid), strict=True):
            index = writes.index(int(write), int(element))
            tap = taps[writes.tap][1]
            if any(i >= n for i, n in zip(index, tap.shape, strict=True)):
                assert writes.values[write, element] == 0  # padding bits
                continue
            value = writes.to_tap(int(write), int(element), int(writes.values[write, element]))
            offset = value - int(tap[index])
            # A threshold on half an even sum loses its own lowest bit, and nothing else.
            assert offset == 0, (writes.tap, index)
            seen[writes.tap][index] += 1
    if config.pool == "token":
        del seen["pool"]  # rows of the last writes's add2, which the head reads where they are
    for name, shape in tap_shapes(config).items():
        if name not in seen:
            continue
        assert len(seen[name]) == np.prod(shape), name
        assert set(seen[name].values()) == {1}, name


@pytest.mark.parametrize("mode", MODES)
def test_every_piece_of_a_task_is_written_by_its_unit(mode):
    """All that a task says it makes, no less and no more, in windows that its command has."""
    program = compile_program(MODES[mode], Formats(), tiny_engine())
    machine = Machine(tiny_engine())
    for entry in program.unrolled():
        op = entry.op
        writes = list(machine.taker(op.command).writes(op.command))
        assert {each.piece for each in writes} == set(op.task.pieces) - {"theta"}, str(op)
        assert {each.window for each in writes} <= set(op.uses.activity.windows), str(op)


def test_writes_come_in_the_order_of_time():
    """Not in that in which operations are listed."""
    network = random_network(MODES["softmax"], seed=2)
    program = compile_network(network, tiny_engine())
    sections = Sections(*(replace(section, entries=section.entries[::-1]) for section in program.sections))
    taps = run_reference(network, random_images(network.config, 1), taps="all").taps
    forth, back = (
        [(writes.probe, writes.tap, writes.keys.tolist()) for writes in expected_writes(network, each, taps, 0)]
        for each in (program, replace(program, sections=sections))
    )
    for probe in {probe for probe, _, _ in forth}:
        assert [each for each in forth if each[0] == probe] == [each for each in back if each[0] == probe]
    assert sections[1].entries[0].issue > sections[1].entries[-1].issue
