"""A bench of ResidualAdd and SignNorm of the dataflow engine: random tiles, what they must give, and when."""

import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from amaranth.hdl import Module
from amaranth.sim import Simulator

from bivit.hw.flow.residual_add import ResidualAdd
from bivit.hw.flow.sign_norm import SignNorm
from bivit.sim.engine.config import EngineConfig
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.residual_add import ResidualAddUnit
from bivit.sim.flow.sign_norm import SignNormUnit
from helpers import CLK_PERIOD, join, load_memory

#: Layers, and norms, that have parameters of their own.
LAYERS = 8
#: Events of the two units, with the cycle of each.
EVENTS = ("read", "x_write", "written", "finished", "staged", "stats", "bits", "staging_free", "full0", "full1")


def flow_config(*, rows: int = 5, columns: int = 8, dim: int = 32, **more: Any) -> FlowConfig:
    """A small engine for models of `dim` channels."""
    engine = EngineConfig(
        rows=rows,
        columns=columns,
        lanes=8,
        dense_lanes=8,
        max_tokens=3 * rows,
        max_embed_dim=dim,
        max_hidden_dim=4 * dim,
        max_heads=2,
        max_depth=LAYERS // 2,
        max_classes=10,
        max_patch_dim=16,
        max_strip_bytes=64,
        program_words=16,
        fabric=more.pop("fabric", "lut6"),
    )
    return FlowConfig(engine=engine, **{"head_norm_lanes": columns, "softmax_lanes": columns, **more})


@dataclass
class Tile:
    """A tile of x, and what is added to it by which layer; `load`: nothing; `then`: a tile that is loaded behind it."""

    rows: int
    load: bool
    norm: bool
    ring: int
    layer: int
    eps: int
    mean: int
    place: int  # among the tiles of x
    old: np.ndarray  # X before, of all rows and columns of the array
    half: np.ndarray  # sums, half of an accumulator each
    final: bool = False
    then: int | None = None
    slot: int = 0
    new: np.ndarray = field(default_factory=lambda: np.zeros(0))
    saturated: int = 0
    stats: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Scenario:
    """Tiles in the order in which their jobs come, with the parameters of all layers."""

    flow: FlowConfig
    channels: int
    tiles: list[Tile]
    jobs: list[tuple[int, int]]  # tile and column group; of a tile that is loaded the first one only
    scale: np.ndarray
    bias: np.ndarray
    theta: np.ndarray

    @property
    def groups(self) -> int:
        return -(-self.channels // self.flow.engine.columns)

    @property
    def steps(self) -> Iterator[tuple[Tile, int, tuple[int, int]]]:
        """What ResidualAdd does one after the other: a column group of a tile, and the job that says so."""
        for number, group in self.jobs:
            tile = self.tiles[number]
            loaded = [tile] if tile.load else []
            if not tile.load:
                yield tile, group, (number, group)
                loaded = [self.tiles[tile.then]] if group == self.groups - 1 and tile.then is not None else []
            for one in loaded:
                yield from ((one, at, (number, group)) for at in range(self.groups))

    def bit(self, tile: Tile, row: int, channel: int) -> int:
        """As docs/semantics.md 2 says."""
        x = int(tile.new[row, channel]) >> self.flow.engine.formats.norm_shift
        s1, r = tile.stats[row]
        return int((self.channels * x - s1) << 8 >= int(self.theta[tile.layer, channel]) * r)

    def finish(self) -> None:
        """What comes out: the new x, S1 and R; Theta of a layer lies at its first tile's values, where it can."""
        formats, known = self.flow.engine.formats, set()
        low, high = -(1 << formats.residual_bits - 1), (1 << formats.residual_bits - 1) - 1
        for tile in self.tiles:
            layer = tile.layer
            exact = tile.old + (0 if tile.load else self.scale[layer] * 2 * tile.half + self.bias[layer])
            tile.new = np.clip(exact, low, high)
            tile.saturated = int((tile.new != exact)[: tile.rows, : self.channels].sum())
            x = tile.new[:, : self.channels] >> formats.norm_shift
            for row in x[: tile.rows].tolist():
                n, s1, s2 = self.channels, sum(row), sum(v * v for v in row)
                r = 1 << 8 + formats.mean_shift if tile.mean else math.isqrt(n * s2 - s1 * s1 + tile.eps)
                tile.stats.append((s1, r))
            if tile.norm and layer not in known:
                known.add(layer)
                s1, r = tile.stats[0]
                for c in range(0, self.channels, 2):
                    value = ((self.channels * int(x[0, c]) - s1) << 8) // max(r, 1) + c // 2 % 2
                    self.theta[layer, c] = min(max(value, -(1 << 15)), (1 << 15) - 1)


def scenario(flow: FlowConfig, channels: int, tiles: int, rng: random.Random) -> Scenario:
    """Random tiles, the jobs of two of them always mixed; values over their whole range, and narrow ones."""
    np_rng = np.random.default_rng(rng.getrandbits(32))
    engine = flow.engine
    width = -(-channels // engine.columns) * engine.columns
    bits, half_max = engine.formats.residual_bits, engine.max_hidden_dim // 2

    def values(limit: int, shape: tuple[int, ...]) -> np.ndarray:
        spread = min(limit, rng.choice((4, 300, limit, limit)))
        return np.clip(np_rng.integers(-spread, spread + 1, shape), -limit, limit - 1)

    def tile(place: int) -> Tile:
        norm = rng.random() < 0.8
        old = np.stack([values(1 << bits - 1, (width,)) for _ in range(engine.rows + 8)])
        half = np.stack([values(half_max, (width,)) for _ in range(engine.rows + 8)])
        if rng.random() < 0.3:  # rows of one value: V is Eps, and every channel is at its mean
            old[:], half[:] = rng.randrange(-1000, 1000), 0
        return Tile(
            rows=rng.choice((1, engine.rows, rng.randint(1, engine.rows))),
            load=norm and rng.random() < 0.4,
            norm=norm,
            ring=rng.randrange(2),
            layer=rng.randrange(LAYERS),
            eps=rng.choice((1, rng.getrandbits(20), (1 << 48) - 1)),
            mean=int(rng.random() < 0.3),
            place=place,
            old=old,
            half=half,
            final=not norm and rng.random() < 0.5,
        )

    made = [tile(k % (3 * (flow.images + 2))) for k in range(tiles)]
    groups = -(-channels // engine.columns)
    jobs: list[tuple[int, int]] = []
    attached = set()
    for before, (one, after) in enumerate(pairwise(made), 1):
        if not one.norm and after.load and rng.random() < 0.7:
            one.then, after.rows = before, one.rows
            attached.add(before)
    waiting = [
        deque(
            (k, group)
            for k in range(lane, tiles, 2)
            if k not in attached
            for group in range(1 if made[k].load else groups)
        )
        for lane in range(2)
    ]
    while any(waiting):
        lane = rng.choice([lane for lane in range(2) if waiting[lane]])
        jobs.append(waiting[lane].popleft())
    scale = np.stack([values(1 << 15, (width,)) for _ in range(LAYERS)])
    bias = np.stack([values(1 << bits - 1, (width,)) for _ in range(LAYERS)])
    theta = np.stack([values(1 << 15, (width,)) for _ in range(LAYERS)])
    theta[:, 1::4] = np_rng.choice((-(1 << 15), (1 << 15) - 1, 0), theta[:, 1::4].shape)
    found = Scenario(flow, channels, made, jobs, scale, bias, theta)
    found.finish()
    return found


class Bench:
    """Drives both units with a scenario, jobs and credits being late as often as said, and notes every event."""

    def __init__(self, case: Scenario, rng: random.Random, late: float, owing: float):
        self.case, self.rng, self.late, self.owing = case, rng, late, owing
        self.flow = case.flow
        self.add_unit, self.norm_unit = ResidualAddUnit(case.flow), SignNormUnit(case.flow)
        self.add, self.norm = ResidualAdd(self.add_unit), SignNorm(self.norm_unit)
        self.events: dict[str, list[Any]] = {name: [] for name in EVENTS}
        self.arrived: dict[tuple[int, int], int] = {}
        self.credits: dict[int, list[int]] = {0: [], 1: []}
        self.saturations = 0
        self.x = {}
        side, columns = self.add_unit.side, self.add_unit.columns
        for tile in case.tiles:
            for addr, row, column in self.words(tile):
                lanes = tile.old[row : row + side, column : column + columns]
                self.x[addr] = self._join(lanes, self.flow.engine.formats.residual_bits)
        self.written = dict(self.x)
        self.deadline = 400 * len(case.jobs) + 1000

    @staticmethod
    def _join(values: np.ndarray, bits: int) -> int:
        flat = [int(value) for value in values.reshape(-1)]
        return join(flat, [bits] * len(flat))

    def words(self, tile: Tile) -> Iterator[tuple[int, int, int]]:
        """Address, first row and first column of each word of a tile of x."""
        u = self.add_unit
        stride = self.case.groups * u.parts
        for group in range(u.most_groups):
            for word in range(stride):
                yield tile.place * u.tile_words + group * stride + word, group * u.side, word * u.columns

    def run(self) -> None:
        """Simulate until everything is done."""
        m = Module()
        m.submodules.add, m.submodules.norm = self.add, self.norm
        for name in ("en", "addr", "data"):
            m.d.comb += getattr(self.norm.staged, name).eq(getattr(self.add.staged, name))
        for name in ("stats", "tile_put", "tile", "tile_ready"):
            m.d.comb += getattr(self.norm, name).eq(getattr(self.add, name))
        sim = Simulator(m)
        sim.add_clock(CLK_PERIOD)
        sim.add_testbench(self._bench)
        sim.run()

    async def _load(self, ctx: Any) -> None:
        """Parameters of all layers, into the bank that is then used."""
        case, columns, formats = self.case, self.add_unit.columns, self.flow.engine.formats
        words: list[int] = []
        thetas: list[int] = []
        for layer in range(LAYERS):
            for at in range(0, case.scale.shape[1], columns):
                pairs = zip(case.scale[layer, at : at + columns], case.bias[layer, at : at + columns], strict=True)
                flat = [int(value) for pair in pairs for value in pair]
                words.append(join(flat, [formats.scale_bits, formats.residual_bits] * columns))
                thetas.append(self._join(case.theta[layer, at : at + columns], 16))
        for dut, name, content in ((self.add, "residual", words), (self.norm, "sign_norm", thetas)):
            ctx.set(dut.bank, 1)
            await load_memory(ctx, dut.load, dut.unit.load_memories[name], content)
            ctx.set(dut.bank, 0)

    async def _bench(self, ctx: Any) -> None:
        await self._load(ctx)
        self.staging = [True] * self.flow.staged_tiles
        self.busy = 0  # slots of sums
        self.owed: list[tuple[int, int]] = []  # when a slot of a ring is given back
        driver = self._drive()
        next(driver)
        address, words = 0, deque([0] * (ResidualAddUnit.x_cycles - 1))
        pending = sum(tile.norm for tile in self.case.tiles)
        quiet = 0
        for cycle in range(self.deadline):
            words.append(self.written.get(address, 0))
            ctx.set(self.add.x_read.data, words.popleft())
            self._inputs(ctx, cycle, driver)
            address = ctx.get(self.add.x_read.addr)
            self._note(ctx, cycle)
            await ctx.tick()
            done = len(self.events["staging_free"]) == pending and len(self.arrived) == len(self.case.jobs)
            quiet += done
            if quiet > 60:
                return
        raise AssertionError("the units stand still")

    def _inputs(self, ctx: Any, cycle: int, driver: Any) -> None:
        """What is given in this cycle."""
        inputs = driver.send(cycle)
        for name in ("put", "sums_en", "sums_last"):
            ctx.set(getattr(self.add, name), inputs.get(name, 0))
        for name in ("job", "sums"):
            if name in inputs:
                ctx.set(getattr(self.add, name), inputs[name])
        free = 0
        for ring in range(2):
            ripe = [owed for owed in self.owed if owed[1] == ring and owed[0] <= cycle]
            if ripe:
                self.owed.remove(ripe[0])
                self.credits[ring].append(cycle)
                free |= 1 << ring
        ctx.set(self.norm.norm_free, free)

    def _take_slot(self) -> int:
        """Any free one: tiles leave in the order of their last groups, not in that of their first ones."""
        slot = self.staging.index(True)
        self.staging[slot] = False
        return slot

    def _drive(self) -> Iterator[dict[str, Any]]:
        """Jobs one after the other, with pauses, as credits allow: the inputs of each cycle."""
        case, u = self.case, self.add_unit
        cycle = yield {}
        for number, group in case.jobs:
            tile = case.tiles[number]
            last = group == case.groups - 1
            while self.rng.random() < self.late:
                cycle = yield {}
            normed = tile if tile.norm else case.tiles[tile.then] if last and tile.then is not None else None
            if normed is not None and (group == 0 or not tile.norm):
                while not any(self.staging):
                    cycle = yield {}
                normed.slot = self._take_slot()
            loaded = tile if tile.load else normed if not tile.norm else None
            job = {
                **{"sums": not tile.load, "load": loaded is not None, "norm": tile.norm, "rows": tile.rows},
                **{"first": group == 0, "last": last, "final": last and tile.final, "group": group},
                **{"groups": case.groups - 1, "x_addr": tile.place * u.tile_words, "channels": case.channels},
                "param_addr": (tile.layer * case.groups + group) * u.parts,
                "load_addr": loaded.place * u.tile_words if loaded else 0,
            }
            if normed is not None:
                job |= {"slot": normed.slot, "eps": normed.eps, "mean": normed.mean, "ring": normed.ring}
                job |= {"theta_addr": normed.layer * case.groups * u.parts}
            if tile.load:
                self.arrived[number, group] = cycle
                cycle = yield {"put": 1, "job": job}
                continue
            while self.busy == self.flow.residual_slots:
                cycle = yield {}
            self.busy += 1
            g, columns = self.flow.drain_rows, self.flow.engine.columns
            words = self.rng.choice((-(-tile.rows // g), self.flow.drain_cycles))
            for word in range(words):
                while self.rng.random() < self.late / 2:
                    cycle = yield {}
                sums = tile.half[word * g : (word + 1) * g, group * columns : (group + 1) * columns]
                given = {"sums_en": 1, "sums_last": word == words - 1, "sums": self._join(sums, u.flow.engine.acc_bits)}
                if word == words - 1:
                    self.arrived[number, group] = cycle
                cycle = yield {**given, **({"put": 1, "job": job} if word == 0 else {})}
        while True:
            cycle = yield {}

    def _note(self, ctx: Any, cycle: int) -> None:
        """What happens in this cycle."""
        add, norm, events = self.add, self.norm, self.events
        for name, signal in (("read", add.sums_read), ("written", add.written), ("finished", add.finished)):
            if ctx.get(signal):
                events[name].append(cycle)
        self.busy -= ctx.get(add.sums_read)
        self.saturations += ctx.get(add.saturations)
        if ctx.get(add.x_write.en):
            addr, word = ctx.get(add.x_write.addr), ctx.get(add.x_write.data)
            events["x_write"].append((cycle, addr))
            self.written[addr] = word
        if ctx.get(add.staged.en):
            events["staged"].append(cycle)
        if ctx.get(add.stats.en):
            stats = add.stats
            events["stats"].append((cycle, *(ctx.get(stats[name]) for name in ("addr", "row", "s1", "r"))))
        bits = norm.bits
        if ctx.get(bits.en):
            events["bits"].append((cycle, *(ctx.get(bits[n]) for n in ("ring", "slot", "group", "word", "data"))))
        if ctx.get(norm.staging_free):
            events["staging_free"].append((cycle, ctx.get(norm.staging_slot)))
            self.staging[ctx.get(norm.staging_slot)] = True
        for ring in range(2):
            if ctx.get(norm.norm_full) >> ring & 1:
                events[f"full{ring}"].append(cycle)
                self.owed.append((cycle + 1 + (self.rng.randrange(200) if self.rng.random() < self.owing else 0), ring))
