"""A bench of the edge of the dataflow engine: images of a random network, whose blocks are played by the test."""

import random
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from amaranth.sim import Simulator
from played_ring import PlayedRing

from bivit.hw.edge.edge import Edge
from bivit.sim.engine.presets import engine_for
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.edge import EdgeUnit
from bivit.sim.flow.edge_lines import EdgeLinesUnit
from bivit.sim.flow.edge_settings import edge_setting_bits
from bivit.sim.flow.residual_add import ResidualAddUnit
from bivit.sim.mapping.edge_words import LINE_STEPS, edge_words, network_settings
from bivit.sim.network.config import ModelConfig, ViTConfig
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.network.stage_view import token_places
from bivit.sim.reference.numbers import affine, classify, normalise, pool
from bivit.sim.reference.patches import image_patches, patch_embed
from bivit.sim.timing.edge_times import UNKNOWN, edge_plan, edge_state, edge_until
from helpers import CLK_PERIOD, join, load_memory, signed

#: A DeiT of a few patches.
TINY = {
    "img_size": 8,
    "patch_size": 2,
    "in_chans": 1,
    "num_classes": 5,
    "embed_dim": 16,
    "depth": 1,
    "num_heads": 1,
    "class_token": True,
}


def tiny(**changes: Any) -> ViTConfig:
    return ViTConfig(**{**TINY, **changes})


def flow_of(config: ViTConfig, **changes: Any) -> FlowConfig:
    """The smallest engine for a network; what belongs to the array is taken out of `changes`."""
    array = {"rows": 3, "columns": 8, "lanes": 8, "dense_lanes": 8, "program_words": 16}
    array |= {
        name: changes.pop(name) for name in [*changes] if name in (*array, "pixel_bytes", "queue_logits", "fabric")
    }
    widths = {"drain_rows": array["rows"], "norm_lanes": array["columns"], "head_norm_lanes": 8, "softmax_lanes": 8}
    return FlowConfig(engine=engine_for(config, **array), **{**widths, **changes})


@dataclass
class Bench:
    """Runs images: when x of one is whole, its final x lies there after a while, and it is finished."""

    config: ModelConfig
    flow: FlowConfig
    images: int
    seed: int = 0
    least_delay: int = 0
    most_delay: int = 60
    pixel_stall: float = 0.0
    logit_stall: float = 0.0
    abandoned: int = 0
    saturates: bool = False
    #: Probability that no word comes in a cycle of what is streamed; without it all are there.
    late: float = 0.0
    #: A memory, a word and a bit of it that is loaded wrong.
    planted: tuple[str, int, int] | None = None
    embedded: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    logits: list[tuple[int, int, int]] = field(default_factory=list)
    taken: list[np.ndarray] = field(default_factory=list)
    saturations: int = 0
    starved: int = 0
    held: int = 0
    most: int = 8000

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        rng = np.random.default_rng(self.seed)
        config = self.config
        self.unit = EdgeUnit(self.flow)
        self.network: IntNetwork = random_network(config, seed=self.seed)
        if self.saturates:
            name = "patch_embed.norm.bias" if config.patch_norm else "pos_embed"
            numbers = np.array(self.network.tensors[name])
            numbers[..., ::3] = (1 << self.word_bits - 1) - 1
            self.network = replace(self.network, tensors={**self.network.tensors, name: numbers})
        shape = (self.images, config.img_size, config.img_size, config.in_chans)
        self.pixels = rng.integers(0, 256, shape).astype(np.uint8)
        most = 1 << self.word_bits - 1
        last = config.stages[-1].blocks[-1]
        self.final = rng.integers(-most, most, (self.images, last.tokens, last.embed_dim))
        self.places = token_places(config, 0)
        self.settings = network_settings(self.network, self.flow)
        self.rings = self._rings() if self.flow.edge_streamed else []
        self.x: dict[int, int] = {}
        self.cycle = 0

    def _rings(self) -> list[PlayedRing]:
        unit = EdgeLinesUnit(self.flow)
        return [
            PlayedRing(unit, line, LINE_STEPS[line](self.network, self.unit), late=self.late) for line in unit.lines
        ]

    @property
    def word_bits(self) -> int:
        return self.flow.engine.formats.residual_bits

    def place(self, image: int, token: int, channel: int, channels: int) -> tuple[int, int]:
        """Word of x and lane of an element, as the contract of x says."""
        unit, rows = self.unit, self.flow.engine.rows
        stride = unit.row_stride(channels)
        if self.flow.windows:
            word = image % unit.banks * unit.bank_words + token * stride + channel // unit.columns
            return word, channel % unit.columns
        tile, row = divmod(token, rows)
        word = image % unit.banks * unit.bank_words + tile * unit.tile_words
        word += row // unit.side * stride + channel // unit.columns
        return word, row % unit.side * unit.columns + channel % unit.columns

    def read_image(self, image: int) -> np.ndarray:
        bits = self.word_bits
        found = np.zeros((self.config.num_tokens, self.config.embed_dim), np.int64)
        for token, channel in np.ndindex(*found.shape):
            word, lane = self.place(image, int(self.places[token]), channel, self.config.embed_dim)
            found[token, channel] = signed(self.x.get(word, 0) >> lane * bits, bits)
        return found

    def write_image(self, image: int) -> None:
        for (token, channel), value in np.ndenumerate(self.final[image]):
            word, lane = self.place(image, token, channel, self.config.num_features)
            at = lane * self.word_bits
            mask = (1 << self.word_bits) - 1
            self.x[word] = self.x.get(word, 0) & ~(mask << at) | (int(value) & mask) << at

    async def load(self, ctx: Any, dut: Edge) -> None:
        words = edge_words(self.network, self.flow)
        if self.planted:
            name, word, bit = self.planted
            words[name][word] ^= 1 << bit
        for name, memory in self.unit.load_memories.items():
            await load_memory(ctx, dut.load, memory, words.get(name, []))
        ctx.set(dut.bank, 1)
        bits = edge_setting_bits(self.flow)
        values = join([self.settings[name] for name in bits], list(bits.values()))
        ctx.set(dut.settings.as_value(), values)
        ctx.set(dut.images, self.images)

    def beats(self) -> list[tuple[int, int]]:
        """Words of the pixel stream, and whether each is an image's last."""
        size, data = self.flow.engine.pixel_bytes, self.pixels.reshape(self.images, -1)
        found = []
        for image in data:
            words = [int.from_bytes(image[at : at + size].tobytes(), "little") for at in range(0, len(image), size)]
            found += [(word, number == len(words) - 1) for number, word in enumerate(words)]
        return found

    def run(self) -> None:
        dut = Edge(self.unit)
        sim = Simulator(dut)
        sim.add_clock(CLK_PERIOD)

        async def play(ctx: Any) -> None:
            await self._run(ctx, dut)

        sim.add_testbench(play)
        sim.run()

    async def abandon(self, ctx: Any, dut: Edge) -> None:
        """Begin a run, stop it `abandoned` cycles later, cut it, and send the rest of its image, which is dropped."""
        ctx.set(dut.start, 1)
        ctx.set(dut.forget, 1)
        beats = deque(self.beats()[: len(self.beats()) // self.images])
        cycle, taken = 0, False
        while cycle < self.abandoned + 5 or ctx.get(dut.dropping):
            ctx.set(dut.pixels.valid, bool(beats) and bool(cycle < self.abandoned or ctx.get(dut.dropping)))
            if beats:
                ctx.set(dut.pixels.payload, {"data": beats[0][0], "last": beats[0][1]})
            ctx.set(dut.stop, cycle == self.abandoned)
            if ctx.get(dut.pixels.valid) and ctx.get(dut.pixels.ready):
                beats.popleft()
                taken |= not beats and not ctx.get(dut.dropping)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.forget, cycle == self.abandoned + 1)
            cycle += 1
        assert ctx.get(dut.limit) == taken
        assert not ctx.get(dut.error)
        ctx.set(dut.pixels.valid, 0)
        for _ in range(3):
            await ctx.tick()

    async def _run(self, ctx: Any, dut: Edge) -> None:
        await self.load(ctx, dut)
        if self.abandoned:
            await self.abandon(ctx, dut)
        ctx.set(dut.start, 1)
        ctx.set(dut.forget, 1)
        beats, waiting = deque(self.beats()), deque[tuple[int, int]]()
        ports = ("x_read", "norm_read") if self.flow.windows else ("x_read",)
        words = {port: deque([0] * (ResidualAddUnit.x_cycles - 1)) for port in ports}
        address, queue = dict.fromkeys(ports, 0), 0
        while len(self.done) < self.images:
            assert self.cycle < self.most, "the edge stands still"
            valid = bool(beats) and self.random.random() >= self.pixel_stall
            ctx.set(dut.pixels.valid, valid)
            if valid:
                ctx.set(dut.pixels.payload, {"data": beats[0][0], "last": beats[0][1]})
            finishes = bool(waiting) and waiting[0][0] <= self.cycle
            ctx.set(dut.finished, finishes)
            ctx.set(dut.queue.level, queue)
            for ring in self.rings:
                ring.before(ctx, dut)
            self.starved += ctx.get(dut.starved)
            if ctx.get(dut.hold):
                self.held += 1
                # A run that is stopped ends where an image waits for room: no packet may be cut there.
                assert len(self.logits) % self.config.num_classes == 0, "an image waits for what its own logits take"
            for port in ports:
                words[port].append(self.x.get(address[port], 0))
                ctx.set(getattr(dut, port).data, words[port].popleft())
            if finishes:
                self.write_image(waiting.popleft()[1])
                self.finished.append(self.cycle)
            address = {port: ctx.get(getattr(dut, port).addr) for port in ports}
            if valid and ctx.get(dut.pixels.ready):
                beats.popleft()
            self._x_write(ctx, dut)
            if ctx.get(dut.embedded):
                self.embedded.append(self.cycle)
                image = len(self.embedded) - 1
                self.taken.append(self.read_image(image))
                earliest = max([self.cycle + 1, *(when + 1 for when, _ in waiting)])
                waiting.append((earliest + self.random.randint(self.least_delay, self.most_delay), image))
            self.saturations += ctx.get(dut.saturations)
            queue = self._logit(ctx, dut, queue)
            for ring in self.rings:
                ring.after(ctx, dut)
            await ctx.tick()
            for ring in self.rings:
                ring.move(ctx, dut)
            ctx.set(dut.start, 0)
            ctx.set(dut.forget, 0)
            self.cycle += 1
        assert not beats

    def _x_write(self, ctx: Any, dut: Edge) -> None:
        if self.flow.windows and ctx.get(dut.norm_write.en):
            self.x[ctx.get(dut.norm_write.addr)] = ctx.get(dut.norm_write.data)
        en = ctx.get(dut.x_write.en)
        if en:
            assert en & (en - 1) == 0
            addr, width = ctx.get(dut.x_write.addr), self.unit.chunk * self.word_bits
            at = (en.bit_length() - 1) * width
            mask = (1 << width) - 1
            self.x[addr] = self.x.get(addr, 0) & ~(mask << at) | ctx.get(dut.x_write.data) << at

    def _logit(self, ctx: Any, dut: Edge, queue: int) -> int:
        if ctx.get(dut.queue.en):
            beat = dut.queue.beat
            self.logits.append((ctx.get(beat.tag), signed(ctx.get(beat.data), 32), ctx.get(beat.last)))
            queue += 1
        if ctx.get(dut.done):
            self.done.append(self.cycle)
        return queue - 1 if queue and self.random.random() >= self.logit_stall else queue

    def embedding(self) -> tuple[np.ndarray, int]:
        """What the patch embedding gives, and how many elements saturate."""
        config, tensors = self.config, self.network.tensors
        x = np.zeros((self.images, config.num_tokens, config.embed_dim), np.int32)
        names = ("weight", "scale", "bias", "shift")
        weight, scale, bias, shift = (tensors[f"patch_embed.proj.{name}"] for name in names)
        most = (1 << self.word_bits - 1) - 1
        position = np.zeros(x.shape[1:], np.int32)
        if not config.patch_norm:
            position[:] = tensors["pos_embed"].reshape(position.shape)
        patches = image_patches(self.pixels, config)
        kinds = (weight.astype(np.int8), scale.astype(np.int32), bias.astype(np.int64))
        saturations = int(patch_embed(patches, *kinds, int(shift[0]), position, ~most, most, x))
        if not config.patch_norm:
            return x, saturations
        scale, bias, eps = (tensors[f"patch_embed.norm.{name}"] for name in ("scale", "bias", "eps"))
        frac_bits, rows = self.network.formats.residual_frac_bits, x.reshape(-1, config.embed_dim)
        y = normalise(x, int(eps[0]), frac_bits, self.network.formats).y.reshape(rows.shape)
        return x, saturations + int(affine(y, scale, bias, frac_bits, ~most, most, rows))

    def answers(self) -> np.ndarray:
        """The logits of the final x."""
        config, tensors, formats = self.config, self.network.tensors, self.network.formats
        shift = config.pool_shift if config.mean_pool else None
        rows = pool(self.final, config.head_rows, shift)
        normed = normalise(rows, int(tensors["norm.eps"][0]), formats.head_frac_bits, formats)
        return classify(normed.y, tensors["head.weight"].astype(np.int8), tensors["head.bias"].astype(np.int32))

    def check_values(self) -> None:
        """X of all images, all logits in order with their tags, and the number of saturations."""
        x, saturations = self.embedding()
        assert all((found == wanted).all() for found, wanted in zip(self.taken, x, strict=True))
        expected = [
            (image % (1 << 16), int(logit), int(number == self.config.num_classes - 1))
            for image, logits in enumerate(self.answers())
            for number, logit in enumerate(logits)
        ]
        assert self.logits == expected
        assert self.saturations == saturations

    def check_cycles(self) -> None:
        """Every image is embedded and answered in the cycle that the model says."""
        assert (self.embedded, self.done) == self.predicted()

    def predicted(self) -> tuple[list[int], list[int]]:
        """Cycles of `embedded` and `done`, asked cycle by cycle, with what is finished known as it comes."""
        plan = edge_plan(self.config, self.flow)
        state = edge_state(plan, self.images)
        finished, embedded, done = (np.full(self.images, UNKNOWN, np.int64) for _ in range(3))
        for now in range(self.cycle + 1):
            for image, when in enumerate(self.finished):
                if when <= now:
                    finished[image] = when
            edge_until(state, plan, finished, embedded, done, now)
        return list(map(int, embedded)), list(map(int, done))
