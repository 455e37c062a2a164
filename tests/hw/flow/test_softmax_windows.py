"""Softmax with windows: bias and masks of random jobs in both modes, of a Swin's blocks, and every cycle."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Const
from shapes import SWIN, random_images
from softmax_bench import Job, Table, falling_table, random_job, reference
from softmax_check import check
from softmax_windows import Pairs, windows_unit

from bivit.hw.flow import softmax
from bivit.sim.network.blocks import BlockShape
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.network.windows import relative_positions
from bivit.sim.reference.run import run_reference

SHAPES = {
    "parts of a row": windows_unit(5, 16, 2, 8),
    "a row": windows_unit(4, 8, 2, 8, score_slots=2, attention_slots=2),
    "two rows": windows_unit(7, 8, 4, 16, attention_slots=3, score_slots=3),
    "row by row": windows_unit(3, 8, 1, 4, attention_slots=2),
    "three rows, all at once": windows_unit(6, 8, 6, 24, fabric="lut4", attention_slots=2),
    "one lane": windows_unit(2, 8, 2, 1, max_tokens=20, score_slots=2, attention_slots=2),
}


def scored_table(rng: random.Random) -> Table:
    """Theta, small, large and beyond every score, before anything."""
    return [rng.choice((0, 1, rng.randrange(66), rng.randrange(66), 64, 65)), *falling_table(rng)[1:]]


@pytest.mark.parametrize("scored", [False, True], ids=["softmax", "score"])
@pytest.mark.parametrize(("pause", "late"), [(0.0, 0), (0.3, 10), (0.0, 120)], ids=["dense", "pauses", "full"])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_jobs(shape: str, pause: float, late: int, scored: bool) -> None:
    unit, rng = SHAPES[shape], random.Random(f"{shape} {late}")
    pairs = Pairs(unit, seed=late)
    tables = [scored_table(rng) if scored else falling_table(rng) for _ in range(unit.tables)]
    jobs = [pairs.random_job() for _ in range(9)]
    check(unit, tables, jobs, contents=pairs.contents, scored=scored, pause=pause, late=late)


def extreme(unit_name: str) -> tuple[Pairs, list[Job]]:
    """All pairs masked, none, all but one; the largest bias of the largest score, and none of the smallest."""
    unit = SHAPES[unit_name]
    pairs, shape = Pairs(unit, seed=3), (unit.flow.engine.rows, 20)
    most, none, all_masked = (np.full(shape, value) for value in (32, 0, 3))
    one = all_masked.copy()
    one[:, 17] = 0
    bias = {name: pairs.store("bias", value) for name, value in (("most", most), ("none", none))}
    masks = {name: pairs.store("masks", value) for name, value in (("none", none), ("all", all_masked), ("one", one))}
    return pairs, [
        pairs.job(scores, number, bias=bias[added], masks=masks[mask], kind=kind)
        for number, (scores, added) in enumerate(((most, "most"), (none, "none"), (most, "none"), (none, "most")))
        for mask in masks
        for kind in (3, 0)
    ]


@pytest.mark.parametrize("scored", [False, True], ids=["softmax", "score"])
@pytest.mark.parametrize("unit_name", ["parts of a row", "two rows"])
def test_extreme_jobs(unit_name: str, scored: bool) -> None:
    """Where every score has its bit, and where none has; a masked pair has none in either case."""
    pairs, jobs = extreme(unit_name)
    unit = pairs.unit
    tables = [[word, *[1 << 15] * 64] for word in ((0, 64, 65, 33, 1, 0) if scored else (0, 1, 1 << 16, 2000, 1, 0))]
    check(unit, tables, jobs, contents=pairs.contents, scored=scored)


def test_a_network_without_windows() -> None:
    """Scores up to 64, and all words of a job take one word of zeros, which is not the first."""
    unit, rng = SHAPES["parts of a row"], random.Random(2)
    tables = [falling_table(rng) for _ in range(unit.tables)]
    jobs = [replace(random_job(unit, rng), beside=(1, 2, 3)) for _ in range(6)]
    rubbish = (1 << 6 * unit.word_scores) - 1
    contents = {"bias": [rubbish, 0, rubbish], "masks": [rubbish >> 4 * unit.word_scores] * 2 + [0]}
    check(unit, tables, jobs, contents=contents, step=0)
    with pytest.raises(AssertionError):
        check(unit, tables, jobs, contents=contents, step=1)


def cyclic_bits(block: BlockShape) -> tuple[np.ndarray, np.ndarray]:
    """Bits of pairs whose tokens are from opposite edges, by rows and by columns, and the kind of each window."""
    assert block.window is not None
    side, count = block.window, block.grid // block.window
    rows, columns = (place >= side - block.shift for place in np.divmod(np.arange(side**2), side))
    bits = (rows[:, None] != rows) + 2 * (columns[:, None] != columns)
    a, b = np.divmod(np.arange(count**2), count)
    return bits, bool(block.shift) * ((a == count - 1) + 2 * (b == count - 1))


def expect_taps(
    taps: dict[str, Any], block: BlockShape, at: tuple[int, ...], row: tuple[int, int, list[int]], scored: bool
) -> None:
    """A row's m, Z and bits are those that the network's reference gives."""
    attn = f"{block.name}.attn.attn_sign"
    if not scored:
        assert (taps[f"{attn}.m"][at], taps[f"{attn}.z"][at]) == row[:2]
    assert taps[attn][at].tolist() == row[2]


def block_jobs(
    network: IntNetwork, taps: dict[str, Any], block: BlockShape, pairs: Pairs, tables: list[Table], scored: bool
) -> list[Job]:
    """All windows, tiles and heads of a block, with the scores of the first image."""
    tile = pairs.unit.flow.engine.rows
    table = network.tensors[f"{block.name}.attn.relative_position_bias_table"].astype(np.int64)
    bias = np.moveaxis(table[relative_positions(block.window or 0)], -1, 0)
    bits, kinds = cyclic_bits(block)
    starts = range(0, block.window_tokens, tile)
    masks = {start: pairs.store("masks", bits[start : start + tile]) for start in starts}
    first = {
        (head, start): pairs.store("bias", bias[head, start : start + tile])
        for start in starts
        for head in range(block.num_heads)
    }
    jobs = []
    for window, kind in enumerate(kinds):
        for start in starts:
            for head in range(block.num_heads):
                p = taps[f"{block.name}.attn.scores"][0, window, head, start : start + tile].astype(np.int64)
                # What a masked pair's score was is not told: anything.
                raw = np.where(p < 0, pairs.rng.integers(0, 33, p.shape), p - bias[head, start : start + tile])
                job = pairs.job(raw, head, bias=first[head, start], masks=masks[start], kind=int(kind))
                assert [row[: job.keys] for row in job.scores[: job.rows]] == p.tolist()
                jobs.append(job)
                for token, row in enumerate(p.tolist(), start):
                    expect_taps(taps, block, (0, window, head, token), reference(row, tables[head], scored), scored)
    return jobs


def block_tables(network: IntNetwork, block: BlockShape, count: int, scored: bool) -> list[Table]:
    """The tables of a block's heads, and as many of nothing as there are more."""
    attn, tensors = f"{block.name}.attn.attn_sign", network.tensors
    tables = [[0] * 65 for _ in range(count)]
    for head, table in enumerate(tables[: block.num_heads]):
        if scored:
            table[0] = int(tensors[f"{attn}.theta"][head])
        else:
            exp = tensors[f"{attn}.exp"][head].tolist()
            table[: len(exp)] = [int(tensors[f"{attn}.tau"][head]), *exp[1:]]
    return tables


@pytest.mark.parametrize("mode", ["softmax", "score"])
def test_blocks_of_a_swin(mode: str) -> None:
    """Both blocks of a stage, one of them shifted: scores, m, Z and bits are those of the network's reference."""
    shape = {"img_size": 12, "window_size": 3, "depths": (2,), "num_heads": (2,)}
    network = random_network(replace(SWIN, attn_mode=mode, **shape), seed=5)
    taps = run_reference(network, random_images(network.config, 1), "all").taps
    unit, scored = windows_unit(5, 8, 2, 8), mode == "score"
    for block in network.config.stages[0].blocks:
        pairs, tables = Pairs(unit, seed=1), block_tables(network, block, unit.tables, scored)
        jobs = block_jobs(network, taps, block, pairs, tables, scored)
        assert bool(block.shift) == any(job.beside[2] for job in jobs)
        check(unit, tables, jobs, contents=pairs.contents, scored=scored)


def small_job() -> tuple[Pairs, list[Table]]:
    """Two rows of three keys, of which none is masked by half of its kind; every Exp counts."""
    pairs = Pairs(SHAPES["one lane"], seed=7)
    return pairs, [[20000, *range(900, 260, -10)] for _ in range(pairs.unit.tables)]


@pytest.mark.parametrize(("name", "bits"), [("bias", range(6)), ("masks", (0, 1))])
def test_a_flipped_bit_is_noticed(name: str, bits: range | tuple[int, ...]) -> None:
    """Of each pair of a job each bit of the bias, and each bit of the masks that its kind looks at."""
    pairs, tables = small_job()
    kind = 3 if name == "bias" else 2
    scores, none = np.array([[3, 9, 5], [6, 2, 30]]), np.zeros((2, 3), dtype=np.int64)
    bias, masks = pairs.store("bias", none + 7), pairs.store("masks", none)
    job = pairs.job(scores, 1, bias=bias, masks=masks, kind=kind)
    check(pairs.unit, tables, [job], contents=pairs.contents)
    size = 6 if name == "bias" else 2
    for bit in bits:
        for row in range(2):
            for key in range(3):
                words = list(pairs.contents[name])
                words[0] ^= 1 << (row * 8 + key) * size + bit
                if name == "masks" and not kind >> bit & 1:
                    check(pairs.unit, tables, [job], contents=pairs.contents | {name: words})
                    continue
                with pytest.raises(AssertionError):
                    check(pairs.unit, tables, [job], contents=pairs.contents | {name: words})


@pytest.mark.parametrize("scored", [False, True], ids=["softmax", "score"])
def test_masks_that_are_not_looked_at_are_found(monkeypatch: pytest.MonkeyPatch, scored: bool) -> None:
    """Planted: a pair that may not attend adds its Exp, and has a bit."""
    monkeypatch.setattr(softmax, "barred", lambda score: Const(0, 1))
    with pytest.raises(AssertionError):
        test_extreme_jobs("two rows", scored)


def test_the_mode_is_looked_at() -> None:
    """The same tables and scores in both, whose bits differ."""
    pairs, jobs = extreme("two rows")
    tables = [[33, *[1 << 15] * 64]] * pairs.unit.tables
    bits = []
    for scored in (False, True):
        check(pairs.unit, tables, jobs, contents=pairs.contents, scored=scored)
        rows = [row[: job.keys] for job in jobs for row in job.scores[: job.rows]]
        bits.append([reference(row, tables[0], scored)[2] for row in rows])
    assert bits[0] != bits[1]
