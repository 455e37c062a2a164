"""Control of the array: what it reads, when it drains, and that both are where `sim.units.matmul` says."""

import random

from amaranth.sim import Simulator

from bivit.hw.units.matmul import Matmul
from bivit.sim.engine import commands
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.presets import engine_for
from bivit.sim.network.presets import preset
from bivit.sim.units.matmul import MatmulUnit
from helpers import CLK_PERIOD, signed

WORD_MAX = (1 << 64) - 1


def small_engine(lanes: int = 8) -> EngineConfig:
    return engine_for(preset("digits"), rows=3, columns=16, lanes=lanes, dense_lanes=16, program_words=512)


class Bench:
    """Operand memories as functions of the address, and a log of everything that leaves."""

    def __init__(self, engine: EngineConfig, seed: int = 0):
        self.engine, self.unit = engine, Matmul(MatmulUnit(engine))
        rng = random.Random(seed)
        self.a = [[rng.getrandbits(64) for _ in range(engine.rows)] for _ in range(64)]
        self.w = [[rng.getrandbits(64) for _ in range(engine.columns)] for _ in range(64)]
        self.preloads = [[rng.randrange(-90, 90) for _ in range(engine.columns)] for _ in range(16)]
        self.sums = [[rng.randrange(-90, 90) for _ in range(engine.columns)] for _ in range(16)]
        self.drained: list[tuple[int, int, int, int]] = []
        self.reads: list[tuple[int, int, int]] = []
        self.preload_reads: list[tuple[int, int]] = []

    def run(self, issues: dict[int, dict[str, int]], cycles: int) -> None:
        sim = Simulator(self.unit)
        sim.add_clock(CLK_PERIOD)

        async def bench(ctx):
            unit, bits = self.unit, self.engine.acc_bits
            pending = (0, 0, 0)
            for cycle in range(cycles):
                a_addr, w_addr, p_addr = pending
                ctx.set(unit.operands.a, pack(self.a[a_addr % 64], 64))
                ctx.set(unit.operands.w, pack(self.w[w_addr % 64], 64))
                ctx.set(unit.preload.data, pack(self.preloads[p_addr % 16], bits))
                ctx.set(unit.sums.data, pack(self.sums[p_addr % 16], bits))
                ctx.set(unit.command.matmul.issue, cycle in issues)
                if cycle in issues:
                    ctx.set(unit.command.matmul.fields, issues[cycle])
                addresses = (unit.operands.a_addr, unit.operands.w_addr, unit.preload.addr)
                pending = tuple(ctx.get(address) for address in addresses)
                assert ctx.get(unit.sums.addr) == pending[2]
                if ctx.get(unit.active):
                    self.reads.append((cycle, *pending[:2]))
                self.preload_reads.append((cycle, pending[2]))
                if ctx.get(unit.drain_en):
                    row, chunk = ctx.get(unit.drain_row), ctx.get(unit.drain_chunk)
                    self.drained.append((cycle, row, chunk, ctx.get(unit.drain_data)))
                await ctx.tick()

        sim.add_testbench(bench)
        sim.run()

    def expected(self, command: dict[str, int]) -> list[tuple[int, int, int]]:
        """Row, chunk and first lane's sum of every drained chunk of a tile."""
        table = (None, self.preloads, self.sums)[command["preload"]]
        out = []
        for row in range(command["rows"]):
            for chunk in range(command["chunks"]):
                values = []
                for c in range(chunk * self.engine.lanes, (chunk + 1) * self.engine.lanes):
                    total = command["preload_const"] + (table[command["preload_addr"]][c] if table else 0)
                    for s in range(command["steps"]):
                        a, w = self.a[command["a_addr"] + s][row], self.w[command["w_addr"] + s][c]
                        total += 64 - (a ^ w).bit_count()
                    values.append(total)
                out.append((row, chunk, values))
        return out


def pack(values, bits):
    return sum((v & ((1 << bits) - 1)) << bits * i for i, v in enumerate(values))


def tile(**fields):
    return dict.fromkeys(commands.Matmul.layout(), 0) | {"rows": 3, "chunks": 2, "columns": 16, "steps": 1} | fields


def lanes_of(word, engine):
    return [signed(word >> engine.acc_bits * i, engine.acc_bits) for i in range(engine.lanes)]


def test_tiles_back_to_back_drain_their_own_sums_on_time():
    """Tiles of different lengths and preloads, each as early as its drain allows: sums, order and cycles."""
    engine = small_engine()
    bench = Bench(engine)
    tiles = [
        tile(steps=3, a_addr=1, w_addr=2, preload=1, preload_addr=3, preload_const=-7),
        tile(steps=6, a_addr=9, w_addr=30, preload=2, preload_addr=5, preload_const=11),
        tile(steps=1, rows=1, chunks=1, a_addr=20, w_addr=40, preload_const=-64),
        tile(steps=2, rows=2, a_addr=22, w_addr=41, preload_const=-1),
    ]
    issues, issue, drain_end = {}, 0, 0
    for command in tiles:
        activity = MatmulUnit(engine).timing(commands.Matmul(**command))
        first, end = activity.windows["drain"]
        issue = max(issue, drain_end - first)
        issues[issue] = command
        drain_end, issue = issue + end, issue + max(activity.busy, 2)
    bench.run(issues, drain_end + 4)

    got = list(bench.drained)
    for start, command in issues.items():
        first, end = MatmulUnit(engine).timing(commands.Matmul(**command)).windows["drain"]
        mine = [entry for entry in got if start + first <= entry[0] < start + end]
        assert [entry[0] for entry in mine] == list(range(start + first, start + end))
        assert [(row, chunk, lanes_of(word, engine)) for _, row, chunk, word in mine] == bench.expected(command)
        got = [entry for entry in got if entry not in mine]
    assert got == []


def test_reads_are_where_timing_says():
    engine = small_engine(lanes=16)
    bench = Bench(engine)
    command = tile(steps=4, chunks=1, a_addr=5, w_addr=7, preload=1, preload_addr=9)
    bench.run({2: command}, 30)
    windows = MatmulUnit(engine).timing(commands.Matmul(**command)).windows
    first, end = windows["array"]
    assert bench.reads == [(2 + cycle, 5 + k, 7 + k) for k, cycle in enumerate(range(first, end))]
    first, _ = windows["preload.read"]
    assert (2 + first, 9) in bench.preload_reads
