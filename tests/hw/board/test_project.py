"""Projects for Vivado: what their scripts name is what the engine and the board have, and what is wrong is found."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines import tiny_flow

from bivit.hw.board import project_check
from bivit.hw.board.boards import SERIAL_BOARDS, ZYNQ_BOARDS, Board, ZynqBoard, find_board
from bivit.hw.board.project import Words, write_project
from bivit.hw.board.project_check import check_project
from bivit.hw.board.top import BoardTop
from bivit.hw.folder.generate import generate
from bivit.hw.synthesis.tools import find_tool
from bivit.sim.engine.registers import BY_NAME, ID, REGISTERS
from bivit.sim.errors import BivitError
from bivit.sim.system.files import read_json

pytest.importorskip("tkinter", reason="this Python has no Tcl interpreter")
CLOCK_MHZ = 90.0


def written(folder: Path, board: Board | ZynqBoard, **flow: Any) -> bool | None:
    """Write a project with the tiny engine."""
    engine, beside = tiny_flow(**flow), isinstance(board, ZynqBoard)
    generate(engine, None, folder / "engine", aresetn=beside, clock_mhz=CLOCK_MHZ)
    top = None if isinstance(board, ZynqBoard) else BoardTop(board, engine, CLOCK_MHZ, 1_000_000)
    return write_project(folder, board, Words("tiny", "assumed", 1_000_000), top=top)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A project of each board, written once; the one of zcu102 streams weights."""
    there: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in there:
            there[name] = tmp_path_factory.mktemp(name)
            more = {"weights": "streamed"} if name == "zcu102" else {}
            assert written(there[name], find_board(name), **more) is True
        return there[name]

    return find


def changed(project: Path, target: Path, file: str, old: str, new: str) -> Path:
    """A copy of a project with something else in a file."""
    shutil.copytree(project, target)
    text = (target / file).read_text(encoding="utf-8")
    assert old in text
    (target / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return target


@pytest.mark.parametrize("name", [*ZYNQ_BOARDS, "arty"])
def test_a_project_is_whole(name: str, projects: Callable[[str], Path]) -> None:
    found = {path.name for path in projects(name).iterdir()}
    own = {"registers.c"} if name in ZYNQ_BOARDS else {"board.v", "pins.xdc"}
    assert found == own | {"build.tcl", "README.md", "engine"}
    page = (projects(name) / "README.md").read_text(encoding="utf-8")
    assert "never run" in page
    assert "stand-ins" in page


def test_only_streamed_weights_have_a_port_to_memory(projects: Callable[[str], Path]) -> None:
    port = "connect_bd_intf_net [get_bd_intf_pins weights/M00_AXI] [get_bd_intf_pins ps/S_AXI_HP1_FPD]"
    assert port in (projects("zcu102") / "build.tcl").read_text(encoding="utf-8")
    assert "S_AXI_HP1_FPD" not in (projects("kv260") / "build.tcl").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("build.tcl", "engine/s_axis_pixels", "engine/s_axis_pixel", "the cell engine has no s_axis_pixel of AXI"),
        ("build.tcl", "engine/aresetn", "engine/rst", "the cell engine has no rst of clock"),
        ("build.tcl", "engine/s_axis_load", "engine/s_axis_pixels", "64 bits, engine/s_axis_pixels 8"),
        ("build.tcl", "dma/S_AXIS_S2MM", "dma/M_AXI_S2MM", "m_axis_logits and dma/M_AXI_S2MM cannot be connected"),
        ("build.tcl", "[get_bd_pins engine/irq]", "[get_bd_pins engine/irqs]", "the cell engine has no irqs"),
        ("build.tcl", "[get_bd_pins engine/irq] ", "[get_bd_pins dma/mm2s_introut] ", "engine/irq is not connected"),
        ("build.tcl", "reset/peripheral_aresetn", "ps/pl_resetn0", "reset/peripheral_aresetn is not connected"),
        ("build.tcl", "reset/peripheral_aresetn", "reset/peripheral_reset", "peripheral_reset cannot drive engine"),
        ("build.tcl", "ps/saxihp0_fpd_aclk ", "", "ps/saxihp0_fpd_aclk is not connected"),
        ("build.tcl", "dma_load/S_AXI_LITE]", "dma/S_AXI_LITE]", "dma/S_AXI_LITE is connected 2 times"),
        ("build.tcl", "REF_CTRL__FREQMHZ 90", "REF_CTRL__FREQMHZ 100", "is asked for 100 MHz, the engine for 90"),
        ("build.tcl", "NUM_MI 3", "NUM_MI 2", "the cell registers has no M02_AXI"),
        ("build.tcl", "0xa0010000", "0xa0000000", "dma/S_AXI_LITE and engine/s_axil have the same addresses"),
        ("build.tcl", "0xa0010000", "0xa0010100", "dma/S_AXI_LITE cannot lie at 0xa0010100"),
        ("build.tcl", "c_include_s2mm 1", "c_include_s2m 1", "xilinx.com:ip:axi_dma has no setting c_include_s2m"),
        (
            "build.tcl",
            "xilinx.com:ip:smartconnect memory",
            "xilinx.com:ip:smart memory",
            "no block xilinx.com:ip:smart",
        ),
        ("build.tcl", "xck26-sfvc784-2LV-c", "xck26-sfvc784-2LV-i", "the part is xck26-sfvc784-2LV-i"),
        ("build.tcl", "validate_bd_design", "validate_bd_desing", 'invalid command name "validate_bd_desing"'),
        ("build.tcl", "validate_bd_design\n", "", "the block design is not validated"),
        ("build.tcl", "-to_step write_bitstream", "-until write_bitstream", "launch_runs has no option -until"),
        ("build.tcl", "{synth_1 impl_1} {", "{synth_1 impl_1}", "wrong # args"),
        ("build.tcl", "reports utilisation.rpt", "reports used.rpt", "reports are timing.rpt, used.rpt"),
        ("build.tcl", "[file join $root board.hwh]", "[file join $root other.hwh]", "the script leaves no board.hwh"),
        ("engine/package_ip.tcl", "address_offset 0x18", "address_offset 0x1c", "registers of the packed engine"),
        ("engine/package_ip.tcl", "bivit_engine_aresetn.v", "engine.v", "there is no file"),
        ("engine/bivit_engine_aresetn.v", "output wire irq", "output wire [1:0] irq", "ports of the Verilog"),
    ],
)
def test_what_is_wrong_in_a_block_design_is_found(
    file: str, old: str, new: str, message: str, projects: Callable[[str], Path], tmp_path: Path
) -> None:
    project = changed(projects("kv260"), tmp_path / "project", file, old, new)
    with pytest.raises(BivitError) as found:
        check_project(project, ZYNQ_BOARDS["kv260"], read_json(project / "engine/manifest.json", "the manifest"))
    assert message in str(found.value)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("pins.xdc", "PACKAGE_PIN A9", "PACKAGE_PIN A8", "pins are not those of the board"),
        ("pins.xdc", "[get_ports rx]", "[get_ports rxd]", "pins are given for clk, rxd"),
        ("pins.xdc", " IOSTANDARD LVCMOS33", "", "a pin has no standard"),
        ("pins.xdc", "-period 10.000", "-period 8.000", "clocks are {'clk': 8.0}, the board has 100 MHz at clk"),
        ("build.tcl", "board.v", "top.v", "there is no file"),
        ("build.tcl", "csg324-1", "csg324-2", "the part is xc7a100tcsg324-2"),
        ("build.tcl", "set_property top bivit_board", "set_property top board", "no file has a module board"),
    ],
)
def test_what_is_wrong_behind_a_serial_line_is_found(
    file: str, old: str, new: str, message: str, projects: Callable[[str], Path], tmp_path: Path
) -> None:
    project = changed(projects("arty"), tmp_path / "project", file, old, new)
    with pytest.raises(BivitError) as found:
        check_project(project, SERIAL_BOARDS["arty"], read_json(project / "engine/manifest.json", "the manifest"))
    assert message in str(found.value)


def test_without_tcl_a_project_says_that_it_was_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_check, "has_tcl", lambda: False)
    assert written(tmp_path, ZYNQ_BOARDS["kv260"]) is None
    assert "The script was not checked either" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_yosys_knows_the_cells_of_an_arty(projects: Callable[[str], Path], tmp_path: Path) -> None:
    """Ports and names of the vendor's cells are those that Yosys has of them; a wrong one is found."""
    text = (projects("arty") / "board.v").read_text(encoding="utf-8")
    yosys = find_tool("yosys")
    script = "read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v; read_verilog board.v; "
    script += "hierarchy -check -top bivit_board"
    (tmp_path / "board.v").write_text(text, encoding="utf-8")
    yosys.run(["-q", "-p", script], tmp_path, 600)
    (tmp_path / "board.v").write_text(text.replace(".CLKFBIN(", ".CLKFB("), encoding="utf-8")
    with pytest.raises(BivitError, match="CLKFB"):
        yosys.run(["-q", "-p", script], tmp_path, 600)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_the_c_example_compiles_and_reads_registers(projects: Callable[[str], Path], tmp_path: Path) -> None:
    project, program = projects("kv260"), tmp_path / "registers"
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(project / "registers.c")]
    subprocess.run(command, check=True)
    values = {"ID": ID, "ENGINE_LO": 0x89ABCDEF, "ENGINE_HI": 0x01234567, "NETWORK": 0xFEED, "ERROR": 6, "DONE": 9}
    values["STATUS"] = BY_NAME["STATUS"].field("loaded").mask
    words = {register.offset // 4: values.get(register.name, 0) for register in REGISTERS}
    memory = tmp_path / "memory"
    memory.write_bytes(b"".join(words.get(place, 0).to_bytes(4, "little") for place in range(2048)))
    done = subprocess.run([program, memory, "0"], capture_output=True, text=True, check=True)
    shown = "engine 0123456789abcdef network 0000feed loaded 1 busy 0 error 6 images done 9"
    assert done.stdout.split() == shown.split()
    memory.write_bytes(bytes(8192))
    assert subprocess.run([program, memory, "4096"], capture_output=True, check=False).returncode == 2
