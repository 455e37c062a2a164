"""The loader against `parse_stream`: same words, same refusals, what is kept, stalls, abort, wait for the engine."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from bus import watched_simulator

from bivit.hw.convert import rtlil_text
from bivit.hw.loader import Loader
from bivit.hw.parts.component import reset_by
from bivit.hw.parts.memory import LoadableMemory
from bivit.sim.engine.loadstream import LoadError, LoadRefused, build_stream, parse_stream
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.presets import FLOW_ENGINES

#: By the number of banks.
ENGINES = {banks: FlowMachine(replace(FLOW_ENGINES["sim"], load_banks=banks)) for banks in (1, 2)}
MEMORIES = ENGINES[1].load_memories
both = pytest.mark.parametrize("banks", ENGINES)


@dataclass
class Record:
    """What the loader did: words by memory and address as beats, errors, and the cycles of what else it said."""

    writes: list[tuple[int, int, int, int]] = field(default_factory=list)
    errors: list[LoadError] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    replaces: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    counts: tuple[int, int, int] = (0, 0, 0)  # loads_ok, loads_bad, loaded


Beats = Sequence[tuple[int, int] | str]  # data and TLAST, or "abort"


def beats_of(data: bytes) -> list[tuple[int, int]]:
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
    return [(word, int(i == len(words) - 1)) for i, word in enumerate(words)]


def simulate(
    beats: Beats, banks: int, *, stall: float = 0.0, seed: int = 0, idle: Callable[[int], bool] = lambda _: True
) -> Record:
    """Feed `beats`, pulsing abort where they say so, and watch the loader until 12 cycles after the last one."""
    dut, record, rng = Loader(ENGINES[banks]), Record(), random.Random(seed)
    done = False

    async def feed(ctx: Any) -> None:
        nonlocal done
        for beat in beats:
            while rng.random() < stall:
                await ctx.tick()
            if isinstance(beat, str):
                ctx.set(dut.abort_load, 1)
                await ctx.tick()
                ctx.set(dut.abort_load, 0)
                continue
            ctx.set(dut.beats.valid, 1)
            ctx.set(dut.beats.payload.data, beat[0])
            ctx.set(dut.beats.payload.last, beat[1])
            await ctx.tick().until(dut.beats.ready)
            ctx.set(dut.beats.valid, 0)
        await ctx.tick().repeat(12)
        done = True

    async def watch(ctx: Any) -> None:
        cycle = 0
        ctx.set(dut.idle, idle(0))
        ticks: AsyncIterator[Any] = ctx.tick().sample(
            dut.load, dut.error, dut.commit, dut.replaces, dut.beats.valid & dut.beats.ready
        )
        async for _, _, load, error, commit, replaces, taken in ticks:
            if load.en:
                record.writes.append((load.memory, load.addr, load.beat, load.data))
            if error:
                record.errors.append(LoadError(error))
            record.commits += [cycle] * commit
            record.replaces += [cycle] * replaces
            record.taken += [cycle] * taken
            cycle += 1
            ctx.set(dut.idle, idle(cycle))
            if done:
                record.counts = (ctx.get(dut.loads_ok), ctx.get(dut.loads_bad), ctx.get(dut.loaded))
                return

    simulator = watched_simulator(dut)
    simulator.add_testbench(feed)
    simulator.add_testbench(watch)
    simulator.run()
    return record


def expected_writes(sections: dict[str, dict[int, list[int]]]) -> list[tuple[int, int, int, int]]:
    return [
        (MEMORIES[name].id, first + i, beat, word >> 64 * beat & (1 << 64) - 1)
        for name, runs in sections.items()
        for first, words in runs.items()
        for i, word in enumerate(words)
        for beat in range(MEMORIES[name].beats)
    ]


def every_memory(seed: int) -> dict[str, dict[int, list[int]]]:
    """Words for the first and last address of every memory, and one empty section."""
    rng = random.Random(seed)
    sections = {
        name: {
            0: [rng.getrandbits(spec.width) for _ in range(2)],
            spec.depth - 1: [rng.getrandbits(spec.width)],
        }
        for name, spec in MEMORIES.items()
    }
    return {**sections, "tables": {**sections["tables"], 9: []}}


@both
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_words_reach_the_load_bus_in_order(stall: float, banks: int) -> None:
    sections = every_memory(3)
    record = simulate(beats_of(build_stream(ENGINES[banks], sections)), banks, stall=stall)
    assert record.writes == expected_writes(sections)
    assert (record.errors, len(record.commits), record.counts) == ([], 1, (1, 0, 1))


@both
def test_timing_without_stalls(banks: int) -> None:
    """A beat a cycle, one cycle more after a header's beat, three after a section's, commit two after the last beat.

    With one bank the header is followed by a cycle in which the engine loses its network.
    """
    sections = {"settings": {0: [1, 2]}, "residual": {0: [3]}}
    record = simulate(beats_of(build_stream(ENGINES[banks], sections)), banks)
    steps = [after - before for before, after in zip(record.taken, record.taken[1:], strict=False)]
    assert steps == [2, 2, 4 - banks, 4, 1, 1, 4] + [1] * MEMORIES["residual"].beats
    assert record.commits == [record.taken[-1] + 2]
    assert record.replaces == ([record.taken[3] - 1] if banks == 1 else [])


def test_a_complete_stream_waits_for_the_engine() -> None:
    data = build_stream(ENGINES[2], {"settings": {0: [1]}})
    record = simulate(beats_of(data) * 2, 2, idle=lambda cycle: cycle >= 40)
    beats = len(data) // 8
    assert record.commits[0] == 40
    assert record.taken[beats - 1] < 20
    assert record.taken[beats] == 41
    assert record.counts == (2, 0, 1)


def test_a_stream_that_overwrites_the_network_waits_behind_its_header() -> None:
    data = build_stream(ENGINES[1], {"settings": {0: [1]}})
    record = simulate(beats_of(data) * 2, 1, idle=lambda cycle: cycle >= 40)
    assert record.replaces[0] == 40
    assert record.taken[2] < 20
    assert record.taken[3] == 41
    assert record.counts == (2, 0, 1)


def test_an_empty_stream_is_taken() -> None:
    for banks, engine in ENGINES.items():
        assert simulate(beats_of(build_stream(engine, {})), banks).counts == (1, 0, 1)


@pytest.mark.parametrize("sent", range(1, 8))
def test_the_only_bank_is_lost_when_a_stream_is_given_up_behind_its_header(sent: int) -> None:
    """Before that the network in use stays."""
    beats = beats_of(build_stream(ENGINES[1], {"settings": {0: [1, 2]}}))
    record = simulate([*beats, *beats[:sent], "abort"], 1)
    assert record.counts == ((2, 0, 1) if sent == 7 else (1, 1, int(sent < 4)))
    assert len(record.replaces) == 1 + (sent > 3)


def refused_streams(engine: FlowMachine) -> dict[str, bytes]:
    """Broken variants of one stream: each beat flipped, each cut, beats too many, bad sections."""
    good = build_stream(engine, {"settings": {3: [7]}, "preload": {0: [5]}})
    found = {}
    for beat in range(len(good) // 8):
        for bit in (0, 9, 33, 63):
            broken = bytearray(good)
            broken[8 * beat + bit // 8] ^= 1 << bit % 8
            found[f"flip {beat}.{bit}"] = bytes(broken)
        found[f"cut after {beat}"] = good[: 8 * (beat + 1)]
    del found[f"cut after {len(good) // 8 - 1}"]
    return {**found, "longer": good + bytes(8), "twice": good + good}


def code_of(engine: FlowMachine, data: bytes) -> LoadError:
    with pytest.raises(LoadRefused) as refused:
        parse_stream(engine, data)
    return refused.value.code


@both
def test_what_the_reader_refuses_the_loader_refuses_with_the_same_code(banks: int) -> None:
    """One simulation: each broken stream, and a good one after each, which must be taken."""
    good = build_stream(ENGINES[banks], {"settings": {0: [1]}})
    streams = refused_streams(ENGINES[banks])
    beats: list[tuple[int, int]] = []
    for data in streams.values():
        beats += beats_of(data) + beats_of(good)
    record = simulate(beats, banks, stall=0.2, seed=5)
    assert record.errors == [code_of(ENGINES[banks], data) for data in streams.values()]
    assert set(record.errors) == set(LoadError) - {LoadError.NONE}
    assert record.counts == (len(streams), len(streams), 1)


@both
def test_length_of_zero_and_empty_section_beyond_the_end(banks: int) -> None:
    magic, fingerprint = int.from_bytes(b"BIVITNET", "little"), ENGINES[banks].fingerprint()
    zero = [(magic, 0), (1, 0), (fingerprint, 0), (0, 1)]
    beyond = [(magic, 0), (1 | 3 << 32, 0), (fingerprint, 0), (129 << 8, 0), (0, 0), (0, 1)]
    record = simulate(zero + beyond, banks)
    assert (record.errors, record.writes) == ([LoadError.LENGTH, LoadError.SECTION], [])


@both
@pytest.mark.parametrize("sent", range(1, 8))
def test_abort_gives_up_an_unfinished_stream(sent: int, banks: int) -> None:
    beats = beats_of(build_stream(ENGINES[banks], {"settings": {0: [1, 2]}}))
    assert len(beats) == 7
    record = simulate([*beats[:sent], "abort", *beats], banks)
    # An abort comes while the beat before it is judged; the seventh completes the stream.
    assert record.errors == ([LoadError.LENGTH] if sent < 7 else [])
    assert record.counts == ((1, 1, 1) if sent < 7 else (2, 0, 1))


@both
def test_abort_between_streams_and_while_discarding(banks: int) -> None:
    beats = beats_of(build_stream(ENGINES[banks], {"settings": {0: [1]}}))
    record = simulate(["abort", *beats, "abort", (0, 0), (0, 0), "abort", *beats], banks)
    assert record.errors == [LoadError.MAGIC]
    assert record.counts == (2, 1, 1)


@both
def test_abort_behind_a_crc_that_is_not_the_last_beat(banks: int) -> None:
    beats = beats_of(build_stream(ENGINES[banks], {"settings": {0: [1]}}))
    record = simulate([*beats[:-1], (beats[-1][0], 0), "abort", *beats], banks)
    assert record.errors == [LoadError.LENGTH]
    assert record.counts == (1, 1, 1)


@both
def test_it_becomes_verilog(banks: int) -> None:
    text = rtlil_text(Loader(ENGINES[banks]), "loader")
    assert text.count("replaces") > 0


class LoadedMemory(wiring.Component):
    """Loader and one memory, with the bank toggled as the top level does."""

    def __init__(self, banks: int) -> None:
        spec = ENGINES[banks].load_memories["preload"]
        self.loader, self.memory = Loader(ENGINES[banks]), LoadableMemory(spec)
        super().__init__({"bank": Out(1), "r_addr": In(self.memory.addr_bits), "r_data": Out(spec.width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.loader, m.submodules.memory = self.loader, self.memory
        m.d.comb += [
            self.memory.load.eq(self.loader.load),
            self.memory.bank.eq(self.bank),
            self.memory.r_addr.eq(self.r_addr),
            self.r_data.eq(self.memory.r_data),
            self.loader.idle.eq(1),
        ]
        m.d.sync += self.bank.eq(self.bank ^ self.loader.commit)
        return m


@both
def test_a_refused_stream_leaves_the_words_in_use_of_two_banks(banks: int) -> None:
    """Of one bank it leaves what was refused, and no network."""
    dut = LoadedMemory(banks)
    spec = MEMORIES["preload"]
    rng = random.Random(7)
    contents = [{a: rng.getrandbits(spec.width) for a in (0, 1, spec.depth - 1)} for _ in range(3)]
    streams = [build_stream(ENGINES[banks], {"preload": {a: [w] for a, w in words.items()}}) for words in contents]
    broken = streams[1][:-1] + bytes([streams[1][-1] ^ 1])
    kept = contents[2 - banks]

    async def bench(ctx: Any) -> None:
        for stream, words in ((streams[0], contents[0]), (broken, kept), (streams[2], contents[2])):
            for data, last in beats_of(stream):
                ctx.set(dut.loader.beats.valid, 1)
                ctx.set(dut.loader.beats.payload.data, data)
                ctx.set(dut.loader.beats.payload.last, last)
                await ctx.tick().until(dut.loader.beats.ready)
            ctx.set(dut.loader.beats.valid, 0)
            await ctx.tick().repeat(2)
            for addr, word in words.items():
                ctx.set(dut.r_addr, addr)
                await ctx.tick()
                assert ctx.get(dut.r_data) == word
            assert ctx.get(dut.loader.loaded) == (banks == 2 or words is not kept)
        assert ctx.get(dut.loader.loads_ok) == 2
        assert ctx.get(dut.loader.loads_bad) == 1

    simulator = watched_simulator(dut, dut.loader)
    simulator.add_testbench(bench)
    simulator.run()


class RestartedMemory(wiring.Component):
    """A memory within what a run resets."""

    restart: In(1)

    def __init__(self) -> None:
        super().__init__()
        self.memory = LoadableMemory(ENGINES[2].load_memories["preload"])

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = reset_by(self.restart, self.memory)
        return m


@pytest.mark.parametrize("cycle", range(4))
def test_a_reset_of_what_a_memory_is_in_loses_no_word(cycle: int) -> None:
    """A run that begins resets the units; a stream for the other bank goes on meanwhile."""
    dut = RestartedMemory()
    memory, spec = dut.memory, dut.memory.spec
    chosen = {"en": 1, "memory": spec.id, "addr": 5}
    bus = [*({**chosen, "beat": beat, "data": beat + 7} for beat in range(spec.beats)), {}, {}, {}]

    async def bench(ctx: Any) -> None:
        for number, values in enumerate(bus):
            ctx.set(memory.load, values)
            ctx.set(dut.restart, number == cycle)
            await ctx.tick()
        ctx.set(memory.bank, 1)
        ctx.set(memory.r_addr, 5)
        await ctx.tick().repeat(spec.read_cycles)
        assert ctx.get(memory.r_data) == sum((beat + 7) << 64 * beat for beat in range(spec.beats))

    simulator = watched_simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()
