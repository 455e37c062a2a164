"""What a unit's jobs wait in and for: a queue of jobs, and counted credits."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory
from amaranth.lib.wiring import In, Out

from ..parts.component import Component
from ..parts.connect import connect


class JobQueue(Component):
    """First in, first out; the first job comes out of registers.

    Timing: a job can be taken two cycles after it was put in, and the next one in the cycle after it.

    Numerics: none. Who puts jobs in does not put in more than there is room for.

    Parameters
    ----------
    fields : dict of str to int
        Fields of a job and their widths.
    depth : int
        Jobs that wait, at most.

    Members
    -------
    put, put_job : In
        A job, when `put`.
    valid, job : Out
        Whether there is a job, and the first one.
    take : In(1)
        Take the first one; only where `valid`.
    """

    def __init__(self, fields: dict[str, int], depth: int):
        self.layout, self.depth = data.StructLayout(fields), depth
        super().__init__(
            {
                "put": In(1),
                "put_job": In(self.layout),
                "valid": Out(1),
                "job": Out(self.layout),
                "take": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build a memory and the registers in front of it."""
        m = Module()
        m.submodules.store = store = memory.Memory(shape=self.layout.size, depth=self.depth, init=[])
        # The register is outside of the port, as in `LoadableMemory`.
        write, read = store.write_port(), store.read_port(domain="comb")
        some, fetch = Signal(), Signal()
        m.submodules.waiting = waiting = Credits(self.depth)
        job = Signal(self.layout, reset_less=True)
        valid = Signal()
        m.d.comb += [
            write.en.eq(self.put),
            connect(write.data, self.put_job.as_value()),
            waiting.give.eq(self.put),
            some.eq(waiting.some),
            fetch.eq(some & (~valid | self.take)),
            waiting.take.eq(fetch),
            self.valid.eq(valid),
            connect(self.job.as_value(), job.as_value()),
        ]
        m.d.sync += valid.eq(fetch | (valid & ~self.take))
        with m.If(fetch):
            m.d.sync += [job.as_value().eq(read.data), read.addr.eq(following(read.addr, self.depth))]
        with m.If(self.put):
            m.d.sync += write.addr.eq(following(write.addr, self.depth))
        return m


class Credits(Component):
    """Counts what may be taken.

    Timing: what is given in a cycle can be taken from the next one on; `some` comes out of a register.

    Numerics: none. Nothing is given beyond `most`.

    Parameters
    ----------
    most : int
        Credits, at most.
    first : int
        Credits after reset.
    early : bool
        Whether `some` is wanted a cycle early as well.

    Members
    -------
    give, take : In(1)
        One more; one less, only where there are some.
    some, some_next : Out(1)
        Whether there are any; in the next cycle, if that is wanted.
    """

    def __init__(self, most: int, first: int = 0, *, early: bool = False):
        self.most, self.first, self.early = most, first, early
        ports = {"give": In(1), "take": In(1), "some": Out(1)}
        super().__init__(ports | {"some_next": Out(1)} if early else ports)

    def elaborate(self, platform: object) -> Module:
        """Count up and down; whether there are some is computed a cycle early."""
        m = Module()
        count = Signal(range(self.most + 1), init=self.first)
        some = Signal(init=self.first > 0)
        m.d.comb += self.some.eq(some)
        with m.If(self.give & ~self.take):
            m.d.sync += [count.eq(count + 1), some.eq(1)]
        with m.If(self.take & ~self.give):
            m.d.sync += [count.eq(count - 1), some.eq(count != 1)]
        if self.early:
            m.d.comb += self.some_next.eq(Mux(self.take & ~self.give, count != 1, some | self.give))
        return m


def following(number: Signal, count: int, step: int = 1) -> Value:
    """Return the number after this one, of `count` in a ring, a whole number of `step`.

    Parameters
    ----------
    number : Signal
        From 0 to `count` - 1.
    count : int
        Numbers of the ring, a multiple of `step`.
    step : int
        Distance of two numbers.
    """
    return Mux(number == count - step, 0, number + step)


def scaled(number: Value, count: int, step: int) -> Value:
    """Return ``number * step`` for a number below `count`, out of a table: a constant takes no multiplier.

    Parameters
    ----------
    number : Value
        From 0 to `count` - 1.
    count, step : int
        Numbers, and the factor.
    """
    return Value.cast(Array(Const(k * step, ((count - 1) * step).bit_length() or 1) for k in range(count))[number])
