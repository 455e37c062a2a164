"""The command that makes the shipped slot tables: it makes what is shipped, and only what is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.flow.streams import Stream
from bivit.sim.flow.table import SlotTable
from bivit.sim.mapping import make_tables
from bivit.sim.mapping.shipped import TABLES, key_of, read_table, shipped_cycles
from bivit.sim.network.presets import preset, vit_preset
from bivit.sim.system.files import read_json

ENTRIES: list[dict[str, Any]] = read_json(TABLES, "tables")
TABLE = SlotTable((Stream.QKV, *Stream), dict.fromkeys(Stream, 7))


def test_the_smallest_table_is_what_the_command_makes() -> None:
    (shipped,) = (one for one in ENTRIES if (one["engine"], one["net"]) == ("latency", "digits"))
    assert make_tables.made(("latency", "digits"), [shipped["tries"]], shipped["seed"]) == shipped


@pytest.mark.parametrize("shipped", ENTRIES, ids=lambda one: f"{one['engine']} {one['net']}")
def test_shipped_cycles_are_those_of_the_model(shipped: dict[str, Any]) -> None:
    pair = (shipped["engine"], shipped["net"])
    found = make_tables.figures(pair, shipped)
    assert found == {"single": shipped["single"], "interval": shipped["interval"]}
    assert shipped_cycles(preset(pair[1]), FLOW_ENGINES[pair[0]]) == (found["single"], found["interval"])


def test_the_file_is_as_the_command_writes_it(tmp_path: Path) -> None:
    make_tables.write(ENTRIES, tmp_path / "tables.json")
    assert (tmp_path / "tables.json").read_bytes() == TABLES.read_bytes()


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ((None, None), [("sim", "digits"), ("sim", "cifar"), ("latency", "digits")]),
        (("sim", None), [("sim", "digits"), ("sim", "cifar")]),
        ((None, "digits"), [("sim", "digits"), ("latency", "digits")]),
        (("zcu102", "digits"), [("zcu102", "digits")]),
    ],
)
def test_what_is_made(chosen: tuple[str | None, str | None], found: list[tuple[str, str]]) -> None:
    shipped = [("sim", "digits"), ("sim", "cifar"), ("latency", "digits")]
    assert make_tables.pairs([{"engine": engine, "net": net} for engine, net in shipped], *chosen) == found


def test_a_table_is_sought_as_before_and_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def sought(config: object, flow: object, *, tries: int, seed: int) -> SlotTable:
        asked.append((config, flow, tries, seed))
        return TABLE

    monkeypatch.setattr(make_tables, "sought", sought)
    cycles = {"single": 1, "interval": 3232.0}
    monkeypatch.setattr(make_tables, "figures", lambda *_: dict(cycles))
    out = tmp_path / "tables.json"
    make_tables.write([{**one, "tries": 7, "seed": 9} for one in ENTRIES[:2]], out)
    make_tables.main(["--engine", "sim", "--net", "digits", "--out", str(out)])
    make_tables.main(["--engine", "latency", "--net", "digits", "--tries", "2", "--out", str(out)])
    digits, sim, latency = vit_preset("digits"), FLOW_ENGINES["sim"], FLOW_ENGINES["latency"]
    assert asked == [(digits, sim, 7, 9), (digits, latency, 2, make_tables.SEED)]
    first, second, third = read_json(out, "tables")
    assert first == {**ENTRIES[0], "tries": 7, "seed": 9}
    assert (read_table(second), second["tries"], second["seed"]) == (TABLE, 7, 9)
    assert third["key"] == key_of(digits, latency)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("[1/1] sim digits, 7 tries, seed 9: 48.51% -> 48.51%, changed, ")
    assert said[1].startswith("[1/1] latency digits, 2 tries, seed 1: 0.00% -> ")
    monkeypatch.setattr(
        make_tables, "figures", lambda _, one: cycles | {"interval": 2000.0 if read_table(one) == TABLE else 1616.0}
    )
    make_tables.main(["--engine", "sim", "--net", "deit_tiny", "--out", str(out)])
    assert read_json(out, "tables") == [first, second, third]
    assert ", not taken, " in capsys.readouterr().out
