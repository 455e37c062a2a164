"""Load streams that an engine must refuse, between right ones that it must take: what each answers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from flow_campaign import Bench, differences
from flow_random import Trial

from bivit.cosim.scenario import Load, Outcome, Run, Step, play
from bivit.sim.engine.loadstream import LoadError, LoadRefused, build_stream, parse_stream
from bivit.sim.engine.target import Target
from bivit.sim.flow.machine import FlowMachine

#: Where the first section of a stream begins, in bytes.
_SECTION = 24


def refused_streams(engine: Target, chance: Random, count: int) -> list[Load]:
    """Short streams with a wrong bit anywhere, cut anywhere, with beats too many, or given up; all are refused."""
    found: list[Load] = []
    while len(found) < count:
        name, spec = chance.choice(list(engine.load_memories.items()))
        words = [chance.getrandbits(spec.width) for _ in range(min(spec.depth, chance.randint(0, 3)))]
        good = build_stream(engine, {name: {chance.randint(0, spec.depth - len(words)): words}, "settings": {0: []}})
        kind = chance.choice(("bit", "bit", "bit", "cut", "longer", "given up"))
        data = {"bit": good, "longer": good + bytes(8 * chance.randint(1, 3))}.get(kind)
        data = bytearray(data or good[: 8 * chance.randrange(1, len(good) // 8)])
        if kind == "bit":
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        found.append(Load(bytes(data), complete=kind != "given up"))
    return found


def code_of(engine: Target, load: Load) -> LoadError:
    """What an engine answers to a stream."""
    if not load.complete:
        return LoadError.LENGTH
    try:
        parse_stream(engine, load.stream)
    except LoadRefused as refused:
        return refused.code
    return LoadError.NONE


def streams_beyond(engine: Target) -> list[Load]:
    """Streams of a word behind the last one of each memory; all are refused."""
    found = []
    for name, spec in engine.load_memories.items():
        data = bytearray(build_stream(engine, {name: {spec.depth - 1: [0]}}))
        data[_SECTION : _SECTION + 8] = (spec.id | spec.depth << 8 | 1 << 32).to_bytes(8, "little")
        found.append(Load(bytes(data)))
    return found


def right_stream(engine: Target, one: Trial) -> bytes:
    """The stream of a network, and of each memory a section without words that ends where the memory does."""
    empty = {name: {spec.depth: []} for name, spec in engine.load_memories.items()}
    return build_stream(engine, {name: {**one.program.words.get(name, {}), **runs} for name, runs in empty.items()})


def play_loads(bench: Bench, some: Sequence[Trial], *, seed: int, count: int) -> list[str]:
    """Load each network after `count` streams that are refused, and run it; return what is wrong."""
    engine, chance = FlowMachine(bench.flow), Random(seed)
    steps: list[Step] = [*streams_beyond(engine)]
    for one in some:
        steps += [*refused_streams(engine, chance, count), Load(right_stream(engine, one))]
        steps += [Run([image.tobytes() for image in one.images], 30 * one.cycles.total + 50_000)]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = play(bench.build, steps, Path(folder), seed=seed)
    wrong, runs = _wrong_loads(engine, steps, outcomes), iter(some)
    for step, outcome in zip(steps, outcomes, strict=True):
        if isinstance(step, Run):
            wrong += differences(next(runs), outcome)
    return wrong


def _wrong_loads(engine: Target, steps: Sequence[Step], outcomes: Sequence[Outcome]) -> list[str]:
    """Streams that were not taken or refused as they must be."""
    wrong, taken, refused = [], 0, 0
    for number, (step, outcome) in enumerate(zip(steps, outcomes, strict=True)):
        if isinstance(step, Load):
            code = code_of(engine, step)
            taken, refused = taken + (code == LoadError.NONE), refused + (code != LoadError.NONE)
            expected = {"ERROR": code, "LOADS_OK": taken, "LOADS_BAD": refused}
            got = {name: outcome.registers[name] for name in expected}
            if got != expected:
                wrong.append(f"stream {number}: {got}, not {expected}")
    return wrong
