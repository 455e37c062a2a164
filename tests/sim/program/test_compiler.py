"""The compiler: programs that fit, schedules that hold, and refusals that name what is too small."""

import itertools
from dataclasses import replace

import pytest
from shapes import MODES, TINY, TOKENS, tiny_engine

from bivit.sim.engine.commands import (
    COMMANDS,
    CORE,
    EDGE,
    JUMP_DELAY,
    OPCODE_BITS,
    OPCODES,
    Embed,
    End,
    Loop,
    Output,
    Table,
    Tell,
    Wait,
)
from bivit.sim.engine.instructions import Instruction
from bivit.sim.engine.presets import ENGINES
from bivit.sim.errors import BivitError
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import preset
from bivit.sim.program.check import check_schedule
from bivit.sim.program.compiler import compile_program
from bivit.sim.program.cycles import array_steps, estimate_cycles, peak_macs, useful_macs
from bivit.sim.program.schedule import EarliestFirst, InOrder

REAL = [("digits", "digits"), ("deit_tiny", "deit_tiny_6x32"), ("deit_tiny", "deit_tiny_33x32")]


@pytest.mark.parametrize("mode", MODES)
def test_schedules_of_every_mode_hold(mode):
    program = compile_program(MODES[mode], Formats(), tiny_engine())
    for section in program.sections:
        check_schedule(list(section.entries))
        assert max(entry.end for entry in section.entries) <= section.length_cycles


#: Cycles of an image in the order of the list, and with whichever operation can start first.
POLICIES = {
    "digits": (7_345, 5_683),
    "deit_tiny_6x32": (792_824, 636_740),
    "deit_tiny_33x32": (627_704, 536_420),
}


@pytest.mark.parametrize(("network", "engine"), REAL)
def test_another_policy_gives_another_program_that_holds(network, engine):
    compiled = [
        compile_program(preset(network), Formats(), ENGINES[engine], policy=policy)
        for policy in (InOrder(), EarliestFirst())
    ]
    assert tuple(program.image_cycles for program in compiled) == POLICIES[engine]
    assert len({array_steps(program) for program in compiled}) == 1


@pytest.mark.parametrize("fill_gaps", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_another_policy_holds_in_every_mode(mode, fill_gaps):
    in_order, other = (
        compile_program(MODES[mode], Formats(), tiny_engine(), policy=policy, fill_gaps=fill_gaps)
        for policy in (InOrder(), EarliestFirst())
    )
    assert other.image_cycles < in_order.image_cycles
    for name, section in other.sections._asdict().items():
        core = name in ("block", "last")
        check_schedule(section.entries, may_stall=not (core and fill_gaps), listed=section.graph.tasks)


@pytest.mark.parametrize(("network", "engine"), REAL)
def test_named_engines_run_their_networks(network, engine):
    program = compile_program(preset(network), Formats(), ENGINES[engine])
    for section in program.sections:
        check_schedule(list(section.entries))
    assert len(program.words()) <= ENGINES[engine].program_words
    assert len(program.edge_words()) <= ENGINES[engine].edge_words
    # The issue times of the unrolled image and the delays of the instructions say the same: an image begins with the
    # edge, whose `tell` the core's `wait` sees a cycle later, and the other way round.
    core, edge = (
        {each.command.name: at for at, each in _chosen(walked)}
        for walked in (program.instructions, program.edge_instructions)
    )
    block = program.sections.block
    core_cycles = core["tell"] + block.length_cycles * (block.repeat - 1)
    edge_cycles = edge["end"] + JUMP_DELAY - edge["wait"]
    assert edge["tell"] + 1 + core_cycles + 1 + edge_cycles == program.image_cycles


def _chosen(instructions):
    """Instructions, and the cycle in which each is chosen if nothing is waited for or repeated."""
    return zip(itertools.accumulate((each.delay for each in instructions), initial=0), instructions, strict=False)


def test_the_edge_is_what_streams_can_stall():
    program = compile_program(MODES["softmax"], Formats(), tiny_engine())
    for process, walked in ((EDGE, program.edge_instructions), (CORE, program.instructions)):
        commands = {type(each.command) for each in walked}
        assert commands <= {*process.issued, *process.own}
        assert {Tell, Wait, End} <= commands
    assert {Embed, Output} <= set(EDGE.issued)
    assert not {Embed, Output} & set(CORE.issued)


def test_full_array_does_deit_tiny_in_the_steps_of_its_shape():
    """6 tiles of 33 of 198 tokens; groups of 32 channels; a step for 64 products: summed by hand."""
    per_tile = 6 * (18 * 3 + 6 * 3 + 24 * 3 + 6 * 12 + 3 * 7 + 3 * 2 * 4)
    program = compile_program(preset("deit_tiny"), Formats(), ENGINES["deit_tiny_33x32"])
    assert array_steps(program) == 12 * per_tile == 18_792


def test_utilisation_counts_only_what_the_network_needs():
    program = compile_program(TINY, Formats(), tiny_engine())
    n, d, m = 4, 16, 32
    assert useful_macs(TINY) == 2 * (n * (3 * d * d + d * d + 2 * d * m) + 2 * n * n * d)
    estimate = estimate_cycles(program, 3)
    assert estimate.peak_macs == peak_macs(tiny_engine()) == 3 * 8 * 64
    assert estimate.array_utilisation == pytest.approx(3 * useful_macs(TINY) / (estimate.cycles * 1536))


def test_images_add_up():
    program = compile_program(TOKENS, Formats(), tiny_engine())
    one, three = estimate_cycles(program, 1), estimate_cycles(program, 3)
    assert three.cycles == one.cycles + 2 * program.image_cycles + three.stall_pixels - one.stall_pixels
    assert three.array_busy == 3 * one.array_busy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": 10}, "tokens at most 10 .max_tokens., the network has 11"),
        ({"max_embed_dim": 8}, "embed_dim at most 8"),
        ({"max_hidden_dim": 24}, "MLP hidden dim at most 24"),
        ({"max_heads": 1}, "num_heads at most 1"),
        ({"max_depth": 1}, "depth at most 1"),
        ({"max_classes": 3}, "num_classes at most 3"),
        ({"max_patch_dim": 7}, "pixels a patch at most 7"),
        ({"max_strip_bytes": 20}, "bytes a row of patches at most 20"),
        ({"program_words": 16}, "the program of the core has .* the engine holds 16"),
        ({"edge_words": 6}, "the program of the edge has 9 instructions, the engine holds 6"),
        ({"formats": Formats(residual_bits=18)}, "number formats"),
    ],
)
def test_an_engine_that_is_too_small_says_where(change, message):
    with pytest.raises(BivitError, match=message):
        compile_program(TOKENS, Formats(), replace(tiny_engine(), **change))


def test_lanes_must_divide_a_head():
    with pytest.raises(BivitError, match="head_dim must be a multiple of the engine's lanes"):
        compile_program(TOKENS, Formats(), tiny_engine(columns=16, lanes=16, max_embed_dim=32))


def test_rows_of_patches_must_be_whole_beats():
    with pytest.raises(BivitError, match="a row of patches has 12 bytes, no multiple of the engine's pixel_bytes"):
        compile_program(replace(TINY, img_size=6), Formats(), replace(tiny_engine(), pixel_bytes=8))


def test_instructions_refuse_what_their_fields_cannot_hold():
    assert Instruction(Table(param_addr=0)).encode() & 15 == OPCODES[Table]
    with pytest.raises(BivitError, match=r"table.param_addr has 16 bits and cannot hold 65536"):
        Instruction(Table(param_addr=65536)).encode()
    with pytest.raises(BivitError, match="delay must be 2"):
        Instruction(Table(param_addr=0), 1).encode()
    with pytest.raises(TypeError, match="param_addr"):
        Table()


def test_every_command_has_a_name_an_opcode_and_bases_that_the_loop_moves_on():
    assert len({command.name for command in COMMANDS}) == len(COMMANDS) <= 1 << OPCODE_BITS
    for command in COMMANDS:
        for bits in command.layout().values():
            assert bits.base is None or bits.base.step in Loop.layout()
            assert bits.base is None or not bits.base.chooser or bits.base.chooser in command.layout()
