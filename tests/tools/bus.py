"""The bus rules of `bivit.cosim.protocol` in Amaranth's simulator: every handshake of a unit is watched by default."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from amaranth.sim import Simulator

from bivit.cosim.protocol import PATIENCE_CYCLES, Violation
from bivit.hw.parts.stream import axis_signals
from helpers import CLK_PERIOD

#: Payload of a handshake by the stem of its VALID.
PAYLOADS = {
    "t": ("tdata", "tuser", "tlast"),
    "aw": ("awaddr",),
    "w": ("wdata", "wstrb"),
    "b": ("bresp",),
    "ar": ("araddr",),
    "r": ("rdata", "rresp"),
}
#: Requests that a response needs.
REQUESTS = {"b": ("aw", "w"), "r": ("ar",)}


class BusRuleBroken(AssertionError):
    """A rule was broken; `violation` says which, where and when."""

    def __init__(self, violation: Violation):
        super().__init__(str(violation))
        self.violation = violation


class Handshake:
    """VALID, READY and payload of one channel, as signals of a unit and as their last sample."""

    def __init__(self, ports: Mapping[str, Any], prefix: str, stem: str):
        self.prefix, self.stem, self.name = prefix, stem, f"{prefix}{stem}"
        names = [name for name in PAYLOADS[stem] if prefix + name in ports]
        self.signals = [ports[prefix + name] for name in (f"{stem}valid", f"{stem}ready", *names)]
        self.fields = names
        self.waiting: tuple[int, ...] | None = None

    def broken(self, valid: int, payload: tuple[int, ...]) -> str | None:
        """The rule that this cycle breaks."""
        if self.waiting is None:
            return None
        return "WITHDRAWN" if not valid else "CHANGED" if payload != self.waiting else None


class BusRules:
    """Watches all handshakes of a unit; `classes` is the length of packets with a TUSER, where it never changes."""

    def __init__(self, dut: Any, classes: int | None = None, allowed: Collection[tuple[str, str]] = ()):
        ports = ports_of(dut)
        stems = [(name[: -len(stem) - 5], stem) for name in ports for stem in PAYLOADS if _is_valid(name, stem)]
        self.channels = [Handshake(ports, prefix, stem) for prefix, stem in stems]
        self.irq = getattr(dut, "irq", None)
        self.classes, self.allowed, self.cycle = classes, allowed, 0
        self.open: Counter[str] = Counter()  # requests taken and not answered, by channel
        self.silent: Counter[str] = Counter()
        self.beats: Counter[str] = Counter()
        self.tags: dict[str, int] = {}
        self.irq_was = self.written = False

    async def watch(self, ctx: Any, cycles: int | None = None) -> None:
        """Look at every cycle, or at the first `cycles`."""
        signals = [signal for channel in self.channels for signal in channel.signals]
        async for _, reset, *values in ctx.tick().sample(*signals, *([] if self.irq is None else [self.irq])):
            at = 0
            if self.irq is not None:
                self._level(bool(values[-1]))
            taken = []
            for channel in self.channels:
                valid, ready, *payload = values[at : at + len(channel.signals)]
                at += len(channel.signals)
                self._cycle(channel, valid, ready, tuple(payload))
                taken += [channel] * (valid and ready and not reset)
            self._count(taken)
            self.cycle += 1
            if self.cycle == cycles:
                return

    def _fail(self, port: str, rule: str) -> None:
        if (port, rule) not in self.allowed:
            raise BusRuleBroken(Violation(port, rule, self.cycle))

    def _cycle(self, channel: Handshake, valid: int, ready: int, payload: tuple[int, ...]) -> None:
        rule = channel.broken(valid, payload)
        if rule is not None:
            self._fail(channel.name, rule)
        channel.waiting = payload if valid and not ready else None
        if channel.stem in REQUESTS:
            self._response(channel, valid, payload[channel.fields.index(f"{channel.stem}resp")])
        elif "tuser" in channel.fields and valid and ready:
            self._packet(channel.name, payload[-2], payload[-1])

    def _response(self, channel: Handshake, valid: int, response: int) -> None:
        asked = all(self.open[channel.prefix + request] for request in REQUESTS[channel.stem])
        if valid and not asked:
            self._fail(channel.name, "UNASKED")
        if valid and response == 1:
            self._fail(channel.name, "RESPONSE")
        self.silent[channel.name] = self.silent[channel.name] + 1 if asked and not valid else 0
        if self.silent[channel.name] > PATIENCE_CYCLES:
            self._fail(channel.name, "SILENT")

    def _packet(self, name: str, tag: int, last: int) -> None:
        self.beats[name] += 1
        if self.classes is not None and last != (self.beats[name] == self.classes):
            self._fail(name, "LAST")
        if self.beats[name] > 1 and tag != self.tags[name]:
            self._fail(name, "TAG")
        self.tags[name] = tag
        if last:
            self.beats[name] = 0

    def _level(self, irq: bool) -> None:
        if self.irq_was and not irq and not self.written:
            self._fail("irq", "LEVEL")
        self.irq_was = irq
        self.written = any(count for name, count in self.open.items() if name.endswith("aw"))

    def _count(self, taken: list[Handshake]) -> None:
        for channel in taken:
            if channel.stem in ("aw", "w", "ar"):
                self.open[channel.name] += 1
            for request in REQUESTS.get(channel.stem, ()):
                self.open[channel.prefix + request] -= 1


def ports_of(dut: Any) -> dict[str, Any]:
    """What a unit has, by name; a stream as the signals ``<name>_tvalid`` and so on of an AXI4-Stream."""
    ports = dict(vars(dut))
    for name, port in vars(dut).items():
        if all(hasattr(port, part) for part in ("valid", "ready", "payload")):
            ports |= {f"{name}_{axis}": signal for axis, signal in axis_signals(port).items()}
    return ports


def _is_valid(name: str, stem: str) -> bool:
    return name == f"{stem}valid" or name.endswith(f"_{stem}valid")


def watched_simulator(
    design: Any,
    *watched: Any,
    classes: int | None = None,
    allowed: Collection[tuple[str, str]] = (),
    cycles: int | None = None,
) -> Simulator:
    """A simulator of a design with its clock, in which a broken bus rule fails the test.

    The ports of `watched` components are looked at, those of the design itself where none is given. `allowed` are
    channels and rules that the test breaks on purpose; a long test may watch its first `cycles` only.
    """
    simulator = Simulator(design)
    simulator.add_clock(CLK_PERIOD)
    for unit in watched or (design,):
        rules = BusRules(unit, classes, allowed)
        simulator.add_testbench(partial(rules.watch, cycles=cycles), background=True)
    return simulator
