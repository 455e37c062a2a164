"""The memory that is written in words and read in parts."""

import random

from amaranth.sim import Simulator

from bivit.hw.flow.part_memory import PartMemory


def test_parts_come_two_cycles_after_their_address() -> None:
    random_ = random.Random(1)
    dut = PartMemory(part_bits=5, parts=3, depth=6, readers=2)
    words = [[0] * 3 for _ in range(6)]
    seen: list[tuple[int, int, int]] = []
    asked: list[list[int]] = []

    async def bench(context) -> None:  # type: ignore[no-untyped-def]
        for _ in range(200):
            word, parts = random_.randrange(6), [random_.randrange(32) for _ in range(3)]
            context.set(dut.w_en, 1)
            context.set(dut.w_addr, word)
            context.set(dut.w_data, sum(part << 5 * number for number, part in enumerate(parts)))
            places = [(random_.randrange(6), random_.randrange(3)) for _ in range(2)]
            for reader, (addr, part) in enumerate(places):
                context.set(dut.r_addr[reader], addr)
                context.set(dut.r_part[reader], part)
            asked.append([words[addr][part] for addr, part in places])
            words[word] = parts
            await context.tick()
            seen.append(tuple(context.get(data) for data in dut.r_data))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    delay = dut.READ_CYCLES - 1  # what is seen after the tick is that of the next cycle
    assert [list(parts) for parts in seen[delay:]] == asked[: len(asked) - delay]
