"""The operand memories: every bit lands where the array reads it, and padding is 0 whatever was there before."""

import random

import pytest
from amaranth.sim import Simulator

from bivit.hw.units.bit_store import SOURCES, BitStore
from bivit.sim.engine.commands import ROW_MEMORIES, ColumnMemory, OperandMemory
from bivit.sim.engine.presets import engine_for
from bivit.sim.engine.words import WORD
from bivit.sim.network.presets import preset
from bivit.sim.units.bit_store import BitStoreUnit
from helpers import CLK_PERIOD

ENGINE = engine_for(preset("digits"), rows=5, columns=16, lanes=8, dense_lanes=8, program_words=512)
KEY, VALUE = OperandMemory.KEY, OperandMemory.VALUE


def run(bench):
    unit = BitStore(BitStoreUnit(ENGINE))
    sim = Simulator(unit)
    sim.add_clock(CLK_PERIOD)

    async def started(ctx):
        await bench(ctx, unit)

    sim.add_testbench(started)
    sim.run()


async def write(ctx, unit, source, mem, *, addr, row, chunk, bits, token=0):
    """Write one chunk and leave the port idle."""
    port = getattr(unit, f"from_{source}")
    fields = {"mem": mem, "addr": addr, "token": token, "row": row, "chunk": chunk}
    ctx.set(port, {"en": 1, "data": bits, **fields})
    await ctx.tick()
    ctx.set(port.en, 0)


async def read(ctx, unit, memory, addr):
    """Read a word of operands."""
    if memory in ROW_MEMORIES:
        ctx.set(unit.operands.a_mem, memory)
        ctx.set(unit.operands.a_addr, addr)
        await ctx.tick()
        return ctx.get(unit.operands.a)
    ctx.set(unit.operands.w_mem, ColumnMemory[memory.name])
    ctx.set(unit.operands.w_addr, addr)
    await ctx.tick()
    return ctx.get(unit.operands.w)


@pytest.mark.parametrize(
    ("source", "memory"), [(s, m) for s, memories in SOURCES.items() for m in memories if m in ROW_MEMORIES]
)
def test_row_memories_keep_64_bits_of_each_row(source, memory):
    """Rows of 128 bits over dirty words; the second word is only half written, its rest must be 0."""
    rng = random.Random(1)
    rows = [rng.getrandbits(96) for _ in range(ENGINE.rows)]

    async def bench(ctx, unit):
        for row in range(ENGINE.rows):
            for chunk in range(16):
                await write(ctx, unit, source, memory, addr=2, row=row, chunk=chunk, bits=0xFF)
        for row, bits in enumerate(rows):
            for chunk in range(12):
                await write(ctx, unit, source, memory, addr=2, row=row, chunk=chunk, bits=bits >> 8 * chunk & 0xFF)
        await ctx.tick()
        words = [await read(ctx, unit, memory, addr) for addr in (2, 3)]
        for row, bits in enumerate(rows):
            got = [word >> WORD * row & (1 << WORD) - 1 for word in words]
            assert got == [bits & (1 << WORD) - 1, bits >> WORD]

    run(bench)


@pytest.mark.parametrize("source", ["drain", "head_norm"])
def test_keys_are_columns(source):
    """Token t is column t % C of word t // C; a head of 32 bits leaves the upper half 0."""
    rng = random.Random(2)
    keys = {token: rng.getrandbits(32) for token in range(12, 22)}

    async def bench(ctx, unit):
        for first in (12, 17):
            for row in range(5):
                for chunk in range(4):
                    bits = keys[first + row] >> 8 * chunk & 0xFF
                    await write(ctx, unit, source, KEY, addr=1, row=row, chunk=chunk, bits=bits, token=first)
        await ctx.tick()
        words = {addr: await read(ctx, unit, OperandMemory.KEY, addr) for addr in (1, 2)}
        for token, bits in keys.items():
            assert words[1 + token // 16] >> WORD * (token % 16) & (1 << WORD) - 1 == bits

    run(bench)


def test_values_are_transposed():
    """Column c of a value word holds 64 tokens of channel c; those beyond the last one are 0, also in used memory."""
    rng = random.Random(3)
    tokens = 16  # the engine's limit
    bits = [[rng.getrandbits(1) for _ in range(16)] for _ in range(tokens)]

    async def bench(ctx, unit):
        for run_of in (5, tokens):
            for first in range(0, run_of, 5):
                for row in range(min(5, run_of - first)):
                    for chunk in range(2):
                        word = sum(bits[first + row][chunk * 8 + i] << i for i in range(8))
                        await write(
                            ctx,
                            unit,
                            "drain",
                            OperandMemory.VALUE,
                            addr=3,
                            row=row,
                            chunk=chunk,
                            bits=word,
                            token=first,
                        )
            await ctx.tick()
            word = await read(ctx, unit, OperandMemory.VALUE, 3)
            for c in range(16):
                expected = sum(bits[t][c] << t for t in range(run_of))
                assert word >> WORD * c & (1 << WORD) - 1 == expected
            bits.reverse()

    run(bench)


def test_weights_pass_through():
    async def bench(ctx, unit):
        ctx.set(unit.operands.w_mem, ColumnMemory.WEIGHTS)
        await ctx.tick()
        ctx.set(unit.weight_word, 0x1234 << 900)
        assert ctx.get(unit.operands.w) == 0x1234 << 900

    run(bench)
