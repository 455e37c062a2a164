"""Stand-ins for the commands of Vivado that a project's script uses: they keep what it asks for.

They are written from AMD's guide of Tcl commands (UG835). A command or an option that is not here is refused, and so is
an object that is asked for before it is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...sim.errors import check
from ...sim.system.files import write_text
from .amd_blocks import BlockPin, block_pins, engine_pins
from .tcl import Command, Interpreter

Options = dict[str, str]


@dataclass
class Design:
    """What a script asks Vivado for.

    Attributes
    ----------
    files : list of Path
        Sources and constraints.
    top, part : str
    registers : dict of str to int
        Offsets in the packed engine's memory map.
    cells, config : dict
        IP and settings of the cells of the block design, by their names.
    links : list of (str, str)
        Interfaces that are connected, as ``cell/interface``.
    nets : list of (str, str)
        Pins that are connected, what gives first.
    segments : dict of str to (int, int)
        Where the processor sees an interface: offset and bytes.
    reports : list of Path
    validated : bool
    pins : dict of str to dict
        Properties of a top's ports.
    clocks : dict of str to float
        Periods in ns by port.
    """

    files: list[Path] = field(default_factory=list)
    top: str = ""
    part: str = ""
    registers: dict[str, int] = field(default_factory=dict)
    cells: dict[str, str] = field(default_factory=dict)
    config: dict[str, dict[str, str]] = field(default_factory=dict)
    links: list[tuple[str, str]] = field(default_factory=list)
    nets: list[tuple[str, str]] = field(default_factory=list)
    segments: dict[str, tuple[int, int]] = field(default_factory=dict)
    reports: list[Path] = field(default_factory=list)
    validated: bool = False
    pins: dict[str, dict[str, str]] = field(default_factory=dict)
    clocks: dict[str, float] = field(default_factory=dict)


def recorded(folder: Path, script: str, manifest: Mapping[str, Any]) -> Design:
    """Run a project's script, and return what it asks for.

    Parameters
    ----------
    folder : Path
        The project; the script writes into it what Vivado would leave there, so it is a copy.
    script : str
        Of `folder`.
    manifest : mapping
        Of the engine.

    Raises
    ------
    BivitError
        When it asks for what there is not.
    """
    played = _Vivado(folder, manifest)
    played.tcl.run(str(folder / script))
    for file in [one for one in played.design.files if one.suffix == ".xdc"]:
        played.tcl.run(str(file))
    return played.design


class _Vivado:
    """The commands, and what they keep."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]):
        self.folder, self.manifest, self.design = folder, manifest, Design()
        self.packed = False
        self.tcl = Interpreter(self._commands())

    def _commands(self) -> dict[str, Command]:
        return {**self._of_projects(), **self._of_packing(), **self._of_designs(), **self._of_runs()}

    def _of_projects(self) -> dict[str, Command]:
        return {
            "create_project": Command(self._create_project, ("part",), ("in_memory", "quiet", "force")),
            "close_project": Command(_nothing),
            "current_project": Command(_named("project")),
            "current_fileset": Command(_named("fileset")),
            "update_compile_order": Command(_nothing, ("fileset",)),
            "update_ip_catalog": Command(_nothing),
            "add_files": Command(self._add_files, ("fileset",), ("norecurse",)),
            "set_property": Command(self._set_property, ("dict",)),
            "get_property": Command(self._get_property),
            "get_board_parts": Command(lambda _, words: f"xilinx.com{words[0][1:-1]}1.0", (), ("quiet",)),
            "get_ipdefs": Command(self._known_ip, (), ("all",)),
            "get_files": Command(_same),
            "get_ports": Command(_same),
            "create_clock": Command(self._create_clock, ("name", "period")),
            "set_false_path": Command(_nothing, ("from", "to")),
        }

    def _of_packing(self) -> dict[str, Command]:
        root = ("root_dir", "vendor", "library", "taxonomy")
        return {
            "ipx::package_project": Command(self._package, root, ("import_files", "force")),
            "ipx::current_core": Command(_named("core")),
            "ipx::get_memory_maps": Command(_nothing, ("of_objects",), ("quiet",)),
            "ipx::add_memory_map": Command(self._engine_interface),
            "ipx::get_bus_interfaces": Command(self._engine_interface, ("of_objects",)),
            "ipx::get_address_blocks": Command(_nothing, ("of_objects",), ("quiet",)),
            "ipx::add_address_block": Command(_same),
            "ipx::add_register": Command(lambda _, words: f"register/{words[0]}"),
            **{f"ipx::{name}": Command(_nothing) for name in ("create_xgui_files", "update_checksums", "save_core")},
            "ipx::check_integrity": Command(_nothing),
        }

    def _of_designs(self) -> dict[str, Command]:
        where = ("offset", "range", "target_address_space")
        return {
            "create_bd_design": Command(_same),
            "create_bd_cell": Command(self._create_cell, ("type", "vlnv")),
            "apply_bd_automation": Command(_nothing, ("rule", "config")),
            "get_bd_pins": Command(self._bd_pin),
            "get_bd_intf_pins": Command(self._bd_interface),
            "connect_bd_net": Command(lambda _, words: self.design.nets.append((words[0], words[1]))),
            "connect_bd_intf_net": Command(lambda _, words: self.design.links.append((words[0], words[1]))),
            "get_bd_addr_spaces": Command(self._address_space),
            "get_bd_addr_segs": Command(_same),
            "assign_bd_address": Command(self._assign, where),
            "validate_bd_design": Command(self._validate),
            "save_bd_design": Command(_nothing),
            "make_wrapper": Command(self._wrapper, ("files",), ("top",)),
        }

    def _of_runs(self) -> dict[str, Command]:
        return {
            "launch_runs": Command(_nothing, ("to_step", "jobs")),
            "wait_on_run": Command(self._ran),
            "get_runs": Command(_same),
            "open_run": Command(_nothing),
            "get_cells": Command(_same, (), ("quiet",)),
            "report_utilization": Command(self._report, ("cells", "file")),
            "report_timing_summary": Command(self._report, ("file",)),
        }

    def _create_project(self, options: Options, words: list[str]) -> None:
        if "in_memory" in options:
            return
        check(len(words) == 2 and "part" in options, "a project needs a name, a folder and a part")
        self.design.part, self.design.files = options["part"], []
        (self.folder / "vivado").mkdir()

    def _add_files(self, options: Options, words: list[str]) -> None:
        for word in words:
            check(Path(word).is_file(), f"there is no file {word}")
            self.design.files.append(Path(word))

    def _set_property(self, options: Options, words: list[str]) -> None:
        given = self.tcl.words(options["dict"]) if "dict" in options else words[:2]
        (target,) = words[-1:]
        check(len(given) % 2 == 0 and len(words) == (1 if "dict" in options else 3), f"a property of {target} is cut")
        for name, value in zip(given[::2], given[1::2], strict=True):
            self._keep_property(target, name, value)

    def _keep_property(self, target: str, name: str, value: str) -> None:
        if target in self.design.cells:
            check(name.startswith("CONFIG."), f"{name} is no setting of the cell {target}")
            self.design.config[target][name.removeprefix("CONFIG.")] = value
        elif target.startswith("register/"):
            self.design.registers[target.partition("/")[2]] = int(value, 0)
        elif target == "fileset" and name == "top":
            self.design.top = value
        elif "PACKAGE_PIN" in name or target in self.design.pins or name in ("IOSTANDARD", "PULLUP", "PULLDOWN"):
            self.design.pins.setdefault(target, {})[name] = value

    def _get_property(self, options: Options, words: list[str]) -> str:
        answers = {
            "PROGRESS": "100%",
            "STATUS": "done",
            "STATS.WNS": "0.1",
            "DIRECTORY": str(self.folder / "vivado"),
            "CONFIG.FREQ_HZ": "1000000",
        }
        check(words[0] in answers, f"the property {words[0]} is not known")
        return answers[words[0]]

    def _known_ip(self, options: Options, words: list[str]) -> str:
        self._pins_of(words[0].removesuffix(":*"), {})
        return words[0]

    def _create_clock(self, options: Options, words: list[str]) -> None:
        self.design.clocks[words[0]] = float(options["period"])

    def _package(self, options: Options, words: list[str]) -> None:
        check(
            self.design.top == self.manifest["top"], f"{self.design.top} is packed, the top is {self.manifest['top']}"
        )
        self.packed = True

    def _engine_interface(self, options: Options, words: list[str]) -> str:
        check(words[0] in engine_pins(self.manifest), f"the engine has no interface {words[0]}")
        return words[0]

    def _pins_of(self, ip: str, config: Mapping[str, str]) -> Mapping[str, BlockPin]:
        if ip != f"bivit:engine:{self.manifest['top']}":
            return block_pins(ip, config)
        check(self.packed, "the engine is used and was not packed")
        return engine_pins(self.manifest)

    def cell_pins(self, cell: str) -> Mapping[str, BlockPin]:
        """Return the pins of a cell."""
        check(cell in self.design.cells, f"there is no cell {cell}")
        return self._pins_of(self.design.cells[cell], self.design.config[cell])

    def _create_cell(self, options: Options, words: list[str]) -> str:
        check(options.get("type") == "ip" and "vlnv" in options, "a cell needs -type ip and -vlnv")
        self.design.cells[words[0]], self.design.config[words[0]] = options["vlnv"], {}
        self.cell_pins(words[0])
        return words[0]

    def _bd_pin(self, options: Options, words: list[str]) -> str:
        return self._looked_up(words[0], ("clock", "reset low", "reset high", "interrupt"))

    def _bd_interface(self, options: Options, words: list[str]) -> str:
        return self._looked_up(words[0], ("AXI", "AXIS"))

    def _looked_up(self, path: str, kinds: tuple[str, ...]) -> str:
        cell, _, name = path.partition("/")
        pin = self.cell_pins(cell).get(name)
        check(pin is not None and pin.kind in kinds, f"the cell {cell} has no {name} of {' or '.join(kinds)}")
        return path

    def _address_space(self, options: Options, words: list[str]) -> str:
        check(words == ["ps/Data"], f"{words[0]} is no address space of the processor")
        return words[0]

    def _assign(self, options: Options, words: list[str]) -> None:
        if not words:
            return
        path = words[0].rpartition("/")[0]
        self._looked_up(path, ("AXI",))
        size = options["range"]
        check(size.endswith("K"), f"a range is given in KB, got {size}")
        self.design.segments[path] = (int(options["offset"], 0), 1024 * int(size[:-1]))

    def _validate(self, options: Options, words: list[str]) -> None:
        self.design.validated = True

    def _wrapper(self, options: Options, words: list[str]) -> str:
        made = self.folder / "vivado" / f"{Path(options['files']).stem}_wrapper.v"
        write_text(made, f"module {made.stem} ();\nendmodule\n")
        return str(made)

    def _ran(self, options: Options, words: list[str]) -> None:
        """Leave what Vivado would, where a script looks for it; a top that no file has cannot be implemented."""
        top = self.design.top
        texts = [one.read_text(encoding="utf-8") for one in self.design.files]
        check(any(re.search(rf"^module {top}\b", text, re.M) for text in texts), f"no file has a module {top}")
        (self.folder / "vivado" / f"{top}.bit").touch()
        handoff = self.folder / "vivado/bivit.gen/sources_1/bd/system/hw_handoff"
        if self.design.cells:
            handoff.mkdir(parents=True, exist_ok=True)
            (handoff / "system.hwh").touch()

    def _report(self, options: Options, words: list[str]) -> None:
        check("file" in options, "a report needs a -file")
        self.design.reports.append(Path(options["file"]))


def _nothing(options: Options, words: list[str]) -> None:
    """Do nothing."""


def _same(options: Options, words: list[str]) -> str:
    return words[0] if words else ""


def _named(name: str) -> Any:
    """Return a command that returns a name."""
    return lambda options, words: name
