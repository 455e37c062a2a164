"""Places: slots by how long values live, addresses from one table, and refusals that name the memory."""

from dataclasses import replace

import pytest
from shapes import MODES, TINY, TOKENS, tiny_engine

from bivit.sim.engine.commands import Loop
from bivit.sim.errors import BivitError
from bivit.sim.network.formats import Formats
from bivit.sim.network.random import random_network
from bivit.sim.program import place as place_module
from bivit.sim.program.compiler import compile_network, compile_program
from bivit.sim.program.graph import At, Param, Value
from bivit.sim.program.layout import Layout
from bivit.sim.program.load_words import load_words
from bivit.sim.program.place import Place
from bivit.sim.program.tasks import network_graphs
from bivit.sim.units.machine import memory_depths

PROGRAMS = ("program", "edge_program")


def placed(config=TOKENS, **changes):
    return Place(Layout(config, Formats(), tiny_engine(**changes)))


def slot(place, name, *at):
    return place.access(Value(name, at)).slot


def test_resident_values_have_slots_of_their_own_and_rings_take_turns():
    place = placed()
    assert len({slot(place, "norm1", tile) for tile in range(4)}) == 4
    assert slot(place, "mlp.act", 0) == slot(place, "mlp.act", 2) != slot(place, "mlp.act", 1)
    assert slot(place, "attn.scores", 0, 1) == slot(place, "attn.scores", 3, 0)


def test_values_that_replace_each_other_have_one_slot():
    place = placed()
    assert slot(place, "x", 5) == slot(place, "add1", 5) == slot(place, "add2", 5) != slot(place, "x", 6)
    assert slot(place, "norm1", 2) == slot(place, "norm2", 2)
    assert slot(place, "pool") == slot(place, "x", TOKENS.num_tokens)


@pytest.mark.parametrize("mode", MODES)
def test_every_value_of_every_graph_has_a_slot_within_its_kind(mode):
    place = placed(MODES[mode])
    for graph in network_graphs(place.layout, 1):
        for task in graph.tasks:
            for values in [*task.reads.values(), *task.writes.values()]:
                for value in values:
                    assert 0 <= place.access(value).slot.number < place.lives[value.name].slots, value


def test_steps_are_those_of_the_loop_and_parameters_do_not_overlap():
    place = placed()
    assert {f for f in Loop.layout() if f.endswith("_step")} == set(place.block_steps())
    for memory, runs in place.params.items():
        taken = [word for run in runs.values() for word in range(run.first, run.end)]
        assert sorted(taken) == list(range(place.block_words(memory)))
    first = place.param(Param("norm_eps", "norm"))
    assert first == TOKENS.depth * place.block_words("norm_eps")
    with pytest.raises(IndexError, match=r"weights:mlp.fc1\[99\]"):
        place.param(Param("weights", "mlp.fc1", 99))


def test_a_memory_that_is_too_small_is_named(monkeypatch):
    depths, needs = memory_depths(tiny_engine()), placed().needs()
    for memory in ("x", "context", "weights", "tables", "value_sums"):
        less = {**depths, memory: needs[memory] - 1}
        monkeypatch.setattr(place_module, "memory_depths", lambda engine, less=less: less)
        with pytest.raises(BivitError, match=rf"its memory {memory} holds \d+ words, the network needs \d+"):
            placed()


def test_words_and_commands_follow_a_place_that_puts_them_elsewhere(monkeypatch):
    """Tensors in the opposite order: other addresses in commands, and the same words, there."""
    network, engine = random_network(TINY, seed=1), tiny_engine()
    before, runs = compile_network(network, engine), place_module._runs
    monkeypatch.setattr(place_module, "_runs", lambda sizes, at=0: runs(dict(reversed(sizes.items())), at))
    after = compile_network(network, engine)
    assert before.words() != after.words()
    old, new = load_words(network, before), load_words(network, after)
    for param in (Param("weights", "mlp.fc1", 1), Param("residual", "mlp.fc2"), Param("norm_eps", "attn.k_norm", 1)):
        for block in range(TINY.depth):
            moved = [program.place.param(param, block) for program in (before, after)]
            assert moved[0] != moved[1]
            assert old[param.memory][0][moved[0]] == new[param.memory][0][moved[1]]
    assert {name: sorted(words[0]) for name, words in old.items() if name not in PROGRAMS} == {
        name: sorted(words[0]) for name, words in new.items() if name not in PROGRAMS
    }
    fc1 = next(e.op for e in after.sections[1].entries if e.op.task.where.layer == "mlp.fc1")
    assert fc1.command.w_addr == after.place.param(Param("weights", "mlp.fc1", 0))


def test_addresses_of_words_after_a_value():
    place = placed(replace(TINY, num_heads=1))
    assert place.address(At(Value("x", (3,)), 1)) == place.address(At(Value("x", (3,)))) + 1 == 3 * 2 + 1


def test_every_stage_can_be_printed():
    program = compile_program(TINY, Formats(), tiny_engine())
    text = str(program)
    for line in (
        "matmul of attn.qkv v tile 1 token 3 head 0 column 0: norm1[1], value_sums[0,0,0] -> ",
        "mlp.act: hidden: ring of 2 x 1 words",
        "weights:attn.proj 6 .. 7 in each block",
        "block: 66 operations, 993 cycles, 2 times",
        "sign_norm of norm1 apply tile 0 token 0\n",
    ):
        assert line in text
