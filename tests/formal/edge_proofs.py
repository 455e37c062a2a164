"""Two products a multiplier block: the sums that are parted are the two sums."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ResetSignal, Signal, Value, signed
from flow_edge import flow_of, tiny
from proving import Fault, Harness, Proof, assume, before, claim

from bivit.hw.edge import pair_block
from bivit.sim.engine.pipeline import SHARED_BITS, SHARED_PRODUCT
from bivit.sim.flow.edge import EdgeUnit

#: What is added to the lower weight, so that it is never negative.
OFFSET = 128


def edge_unit() -> EdgeUnit:
    """The smallest edge with pairs."""
    return EdgeUnit(flow_of(tiny(), dense_patches=2, dense_lanes=16, products_per_dsp=2))


def products(pixel: Value, lower: Value, upper: Value) -> tuple[Value, dict[str, Value]]:
    """A product with both weights, and its parts: with the raised lower weight, the lower and the upper one."""
    both = ((upper << SHARED_BITS) + lower + OFFSET)[: SHARED_PRODUCT[0]].as_signed() * pixel
    return both, {"raised": pixel * (lower + OFFSET), "low": pixel * lower, "high": pixel * upper}


def consists(both: Value, parts: dict[str, Value], pixel: Value) -> Value:
    """What `product` proves of them."""
    offset = (parts["raised"] == parts["low"] + OFFSET * pixel) & (parts["raised"] >= 0)
    return (
        offset & (parts["raised"] < 1 << SHARED_BITS - 1) & (both == parts["raised"] + (parts["high"] << SHARED_BITS))
    )


def product() -> Harness:
    """One product with both weights."""

    def body(m: Module, h: Any) -> None:
        pixel = Cat(h.pixel, Const(0, 1)).as_signed()
        claim(m, "parts", consists(*products(pixel, h.lower, h.upper), pixel))

    return Harness({"pixel": 8, "lower": signed(8), "upper": signed(8)}, body)


def pair() -> Harness:
    """A pair of channels, from pixels and weights to both sums; sums stay where they are.

    Whatever the number of steps: sums count modulo their widths, which `EdgeUnit` chooses so that none is left.
    """
    u = edge_unit()
    width = SHARED_BITS + u.patch_bits

    def body(m: Module, h: Any) -> None:
        m.submodules.dut = dut = pair_block.PairBlock(u, 1)
        m.submodules.parted = parted = pair_block.Unpair(u)
        assume(m, ~ResetSignal())
        m.d.comb += [
            *(dut.input.eq(h.pixel), dut.first.eq(h.first), dut.add.eq(h.add)),
            *(dut.weights[0].eq(h.lower), dut.weights[1].eq(h.upper)),
        ]
        # A pixel comes a cycle before its weights.
        pixel = Cat(before(m, h.pixel, 2, "pixel"), Const(0, 1)).as_signed()
        weights = (before(m, h.upper, 1, "upper") << SHARED_BITS) + before(m, h.lower, 1, "lower") + OFFSET
        claim(m, "pixel", h.b_1 == pixel[:9].as_signed())
        # After reset no weights have come, and no pixel.
        claim(m, "weights", (h.a_1 == weights) | (pixel == 0))
        # The product is any one that consists of parts as `pair_product` proves.
        one = Cat(before(m, h.pixel, 3, "one"), Const(0, 1)).as_signed()
        raised, low, high = h.raised, h.low, h.high
        assume(m, consists(h.product_2, {"raised": raised, "low": low, "high": high}, one))
        for name, (signal, length) in lines.items():
            for k in range(1, length + 1):
                claim(m, f"{name}_{k}", getattr(h, f"{name}_{k}") == before(m, getattr(h, signal), k, f"{name}_{k}"))
        claim(m, "stays", ~h.shift_1 & ~h.shift_2 & ~h.told_shift)
        add, first = before(m, h.add, 3, "add"), before(m, h.first, 3, "first")
        claim(m, "told", h.told_first == first)
        terms = {"raised": raised, "low": low, "high": high, "pixels": one}
        sums = {name: Signal(signed(width), name=f"sum_of_{name}", reset_less=True) for name in terms}
        with m.If(add):
            m.d.sync += [total.eq(Mux(first, 0, total) + terms[name]) for name, total in sums.items()]
        total = (sums["raised"] + (sums["high"] << SHARED_BITS))[:width].as_signed()
        claim(m, "sum", h.sum_3 == total)
        claim(m, "low", sums["low"] == (sums["raised"] - OFFSET * sums["pixels"])[:width].as_signed())
        # A cycle later the counts are complete.
        ago = {name: before(m, total, 1, f"sum_of_{name}") for name, total in sums.items()}
        claim(m, "top", h.top == ago["raised"][SHARED_BITS - 1])
        claim(m, "overflows", h.count == ago["raised"][SHARED_BITS:][: u.overflow_bits])
        claim(m, "pixels", h.pixels_sum == ago["pixels"][: u.pixels_bits])
        word = before(m, h.sum_3, 1, "sum_3")
        m.d.comb += [
            *(
                parted.group.pairs[0].lower.eq(word[:SHARED_BITS]),
                parted.group.pairs[0].upper.eq(word[SHARED_BITS:].as_signed()),
            ),
            *(parted.group.overflows[0].eq(h.count), parted.group.pixels.eq(h.pixels_sum), parted.group.paired.eq(1)),
        ]
        fits = {name: before(m, fit, 2, f"{name}_fits") for name, fit in fitting(sums, u).items()}
        claim(m, "lower", ~fits["raised"] | ~fits["pixels"] | (parted.sums[0] == before(m, ago["low"], 1, "low_sum")))
        claim(m, "upper", ~fits["raised"] | ~fits["high"] | (parted.sums[1] == before(m, ago["high"], 1, "high_sum")))

    block = "dut.product_0_0"
    inner = {
        "a_1": (signed(SHARED_PRODUCT[0]), f"{block}.a_1|{block}.$like"),
        "b_1": (signed(SHARED_PRODUCT[1]), f"{block}.b_1"),
        "product_2": (signed(sum(SHARED_PRODUCT)), f"{block}.product_2"),
        "sum_3": (signed(width), f"{block}.sum_3"),
        **{"count": (u.overflow_bits, "dut.count_0"), "top": (1, "dut.top_0")},
        "pixels_sum": (u.pixels_bits, "dut.pixels_sum"),
    }
    # Registers of delays, and what they delay.
    lines = {"first": ("first", 2), "add": ("add", 3), "first_beside": ("first", 4)}
    lines |= {"add_beside": ("add", 4), "input": ("pixel", 4)}
    inner |= {
        f"{name}_{k}": (8 if name == "input" else 1, f"dut.{name}_{k}")
        for name, (_, length) in lines.items()
        for k in range(1, length + 1)
    }
    inner |= {"shift_1": (1, "dut.shift_1"), "shift_2": (1, "dut.shift_2")}
    inner |= {"told_first": (1, f"{block}.first$#|{block}.$signal"), "told_shift": (1, f"{block}.shift$#")}
    free = {"pixel": 8, "lower": signed(8), "upper": signed(8), "first": 1, "add": 1}
    free |= {"raised": signed(18), "low": signed(18), "high": signed(18)}
    return Harness(free, body, inner, cut=[f"{block}.product_2"])


def fitting(sums: dict[str, Signal], u: EdgeUnit) -> dict[str, Value]:
    """Which sums are within those of the largest patch."""
    most = 255 * u.flow.engine.max_patch_dim
    limits = {"raised": (0, 255 * most), "pixels": (0, most), "high": (-128 * most, 127 * most)}
    return {name: (sums[name] >= low) & (sums[name] <= high) for name, (low, high) in limits.items()}


PROOFS: dict[str, Proof] = {
    "pair_product": Proof(
        "hw/edge/pair_block.py",
        "p * (w1 * 2^17 + w0 + 128) = p*(w0 + 128) + 2^17 * p*w1, and the first of these is from 0 to 2^16 - 1",
        "every pixel, every two weights",
        product,
        0,
    ),
    "pair": Proof(
        "hw/edge/pair_block.py",
        "of two channels in one multiplier the parted sums are sum(p*w0) and sum(p*w1), and what leads to them",
        "one pair, weights and pixels as they are, any number of steps",
        pair,
        2,
    ),
}

FAULTS: dict[str, Fault] = {
    "an overflow that is not counted": Fault("pair", pair_block, "before & ~top", "before & top", "overflows"),
    "an upper sum": Fault("pair", pair_block, "pair.upper - counted", "pair.upper", "upper"),
    "a sum of pixels": Fault("pair", pair_block, "Mux(first, 0, pixels) + pixel", "pixels + pixel", "pixels"),
    "an offset": Fault("pair", pair_block, "~lower[-1], Const", "lower[-1], Const", "weights"),
}
