"""A link in Amaranth's simulator: bytes go in at its pin, an engine is played, answers come out at the other pin."""

from collections.abc import Collection, Sequence
from typing import Any

from amaranth.sim import Simulator
from bus import BusRules

from bivit.host.frames import Answer, AnswerReader
from bivit.hw.board.link import Link
from helpers import CLK_PERIOD

DIVISOR = 4
#: Cycles in which a link answers at least, beyond its patience.
_QUIET = 100 * DIVISOR


class LinkBench:
    """Plays an engine whose registers are a memory, whose streams are lists, and whose logits are given."""

    def __init__(
        self,
        logits: Sequence[tuple[int, int, int]] = (),
        *,
        pixel_bytes: int = 1,
        takes_pixels: bool = True,
        patience: int = 400,
        allowed: Collection[tuple[str, str]] = (),
    ):
        self.link = Link(DIVISOR, pixel_bytes, patience)
        self._patience = patience
        self.registers: dict[int, int] = {}
        self.beats: dict[str, list[tuple[int, int]]] = {"load": [], "pixels": []}
        self.resets = 0
        self._logits, self._takes_pixels, self._allowed = list(logits), takes_pixels, allowed
        self.answers: list[Answer | None] = []
        self._reader = AnswerReader()

    def play(self, *frames: bytes) -> list[Answer | None]:
        """Send bytes, each part after the answer to the one before, and return the answers."""
        simulator = Simulator(self.link)
        simulator.add_clock(CLK_PERIOD)

        async def host(ctx: Any) -> None:
            ctx.set(self.link.rx, 1)
            for frame in frames:
                for byte in frame:
                    for bit in (0, *(byte >> k & 1 for k in range(8)), 1):
                        ctx.set(self.link.rx, bit)
                        await ctx.tick().repeat(DIVISOR)
                await self._hear(ctx)

        simulator.add_testbench(host)
        simulator.add_testbench(self._engine, background=True)
        for watched in (self.link, self.link.bus):
            simulator.add_testbench(BusRules(watched, allowed=self._allowed).watch, background=True)
        simulator.run()
        return self.answers

    async def _hear(self, ctx: Any) -> None:
        """Take an answer; none comes when nothing did for longer than an engine may stall."""
        silent, answers = 0, len(self.answers)
        while silent < self._patience + _QUIET and len(self.answers) == answers:
            await ctx.tick()
            silent += 1
            if ctx.get(self.link.tx) == 0:
                await ctx.tick().repeat(DIVISOR // 2)
                byte = 0
                for bit in range(8):
                    await ctx.tick().repeat(DIVISOR)
                    byte |= ctx.get(self.link.tx) << bit
                await ctx.tick().repeat(DIVISOR)
                assert ctx.get(self.link.tx) == 1
                self.answers += self._reader.read(bytes([byte]))
                silent = 0
        await ctx.tick().repeat(DIVISOR)

    async def _engine(self, ctx: Any) -> None:
        """Take beats at once, data of a write before its address, and give logits when they are asked for."""
        bus, link = self.link.bus, self.link
        ctx.set(link.load.ready, 1)
        ctx.set(link.pixels.ready, self._takes_pixels)
        channels = (bus.awvalid, bus.wvalid, bus.arvalid, bus.bready, bus.rready)
        streams = [one for port in (link.load, link.pixels) for one in (port.valid & port.ready, port.payload)]
        values = (bus.awaddr, bus.wdata, bus.araddr, link.logits.ready & link.logits.valid, link.reset)
        was_reset = data = 0
        self._offer(ctx)
        async for _, _, *now in ctx.tick().sample(*channels, *streams, *values):
            aw, w, ar, b, r, loads, load, puts, pixel, address, word, read, fetched, reset = now
            self.resets += reset and not was_reset
            was_reset = reset
            for took, name, beat in ((loads, "load", load), (puts, "pixels", pixel)):
                if took:
                    self.beats[name].append((beat.data, beat.last))
            if fetched:
                self._logits.pop(0)
                self._offer(ctx)
            took_w, took_aw, took_ar = (ctx.get(one) for one in (bus.wready, bus.awready, bus.arready))
            data = word if w and took_w else data
            if aw and took_aw:
                self.registers[address] = data
                ctx.set(bus.bresp, 2 if address == 0 else 0)
            if ar and took_ar:
                ctx.set(bus.rdata, self.registers.get(read, 0))
            ctx.set(bus.bvalid, (aw and took_aw) or (ctx.get(bus.bvalid) and not b))
            ctx.set(bus.rvalid, (ar and took_ar) or (ctx.get(bus.rvalid) and not r))
            ctx.set(bus.wready, w and not took_w)
            ctx.set(bus.awready, w and took_w)
            ctx.set(bus.arready, ar and not took_ar)

    def _offer(self, ctx: Any) -> None:
        """Offer the next logit."""
        ctx.set(self.link.logits.valid, bool(self._logits))
        if self._logits:
            value, tag, last = self._logits[0]
            ctx.set(self.link.logits.payload, {"data": value & 0xFFFFFFFF, "tag": tag, "last": last})
