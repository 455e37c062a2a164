"""`bivit devices`: every device and board that a target can be, with what is known of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from program import invoke

from bivit.sim.estimate.boards import BOARDS
from bivit.sim.estimate.devices import DEVICES, device


def test_all_that_is_known_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke("devices", "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["name"] for one in found["devices"]] == list(DEVICES)
    assert [one["name"] for one in found["boards"]] == list(BOARDS)
    for one in found["devices"]:
        known = device(one["name"])
        assert (one["part"], one["luts"], one["dsps"]) == (known.part, known.luts, known.dsps)
        assert (one["clock_mhz"], one["clock_kind"]) == (known.clock_mhz, "assumed")
    for one in found["boards"]:
        assert {device(name).name for name in (one["name"], *one["also"])} == {one["device"]}
        memory = BOARDS[one["name"]].memory
        assert one["memory_gb_s"] == (memory and memory.gb_s)


def test_text_has_a_row_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    shown = invoke("devices", cwd=tmp_path, monkeypatch=monkeypatch).stdout
    for one in DEVICES.values():
        assert one.part in shown
    for board in BOARDS.values():
        assert board.title in shown


@pytest.mark.parametrize("command", [[], ["estimate"], ["host", "info"]])
def test_help_has_a_short_name(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = (invoke(*command, name, cwd=tmp_path, monkeypatch=monkeypatch) for name in ("-h", "--help"))
    assert short.returncode == 0
    assert short.stdout == long.stdout != ""
