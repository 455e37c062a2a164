"""The text files of a folder that come from templates, and a line about every file that can be in one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...sim.engine.registers import BY_NAME, ERROR_TEXTS, ID, MAP_VERSION, registers_of
from ...sim.flow.machine import FlowMachine
from ...sim.mapping.compiled import Program
from ...sim.mapping.cycles import interval_of
from ...sim.mapping.loads import memory_bytes
from ...sim.mapping.weight_image import weight_map
from ...sim.network.file import network_hash
from ...sim.network.network import IntNetwork
from ...sim.system.files import write_text
from ..multiplier_blocks import BLOCK_CELLS, MACRO
from ..ports import Interface, interfaces
from ..templates import environment
from ..verilog_top import ARESETN_TOP, ENGINE_TOP
from .golden import Golden

if TYPE_CHECKING:
    from jinja2 import Environment

#: Files of AMD's multiplier blocks, and their cells.
_BLOCK_FILES = {f"amd/{cell.lower()}.v": cell for cell in BLOCK_CELLS}
#: What is in each file, in the order in which a reader meets them.
TEXTS = {
    f"{ENGINE_TOP}.v": "the engine, Verilog-2001",
    f"{ARESETN_TOP}.v": "the same behind `aclk` and an active-low `aresetn`",
    **{path: f"multipliers of the engine as blocks {cell}, for AMD's tools" for path, cell in _BLOCK_FILES.items()},
    "network.bin": "the network as its load stream: 64-bit beats, little-endian",
    "weights.bin": "weights that the engine reads from memory while it works",
    "golden/pixels.bin": "images for a first run, as the pixel stream carries them",
    "golden/logits.bin": "what the engine must answer: int32, little-endian, class by class, image by image",
    "golden/expected.txt": "how many of both, and what the counters must be after the run",
    "bench/verilator/Makefile": "`make` builds the C++ bench with Verilator and runs it",
    "bench/verilator/bench.cpp": "loads the network, runs the images, compares logits and counters",
    "bench/icarus/Makefile": "`make` does the same with Icarus Verilog",
    "bench/icarus/bench.v": "the same bench in Verilog-2005",
    "registers.md": "register map and error codes, to read",
    "registers.rdl": "register map as SystemRDL",
    "bivit_registers.h": "register map as a C header",
    f"{ENGINE_TOP}.core": "FuseSoC core (CAPI2)",
    "package_ip.tcl": "packs the engine for the IP catalog of AMD Vivado",
    "constraints/clock.xdc": "the clock, for AMD Vivado",
    "constraints/clock.sdc": "the clock, for tools that read SDC",
    "constraints/clock.lpf": "the clock, for nextpnr-ecp5 and Lattice Diamond",
    "engine.json": "configuration of the engine, for bivit",
    "manifest.json": "ports, image, versions, and size and SHA-256 of every file",
    "README.md": "this page",
}
#: Files from templates: those of every folder, those that need golden vectors, that for `aresetn`.
_ALWAYS = (
    "README.md",
    "registers.rdl",
    f"{ENGINE_TOP}.core",
    "package_ip.tcl",
    "constraints/clock.xdc",
    "constraints/clock.sdc",
    "constraints/clock.lpf",
)
_BENCHES = tuple(path for path in TEXTS if path.startswith("bench/"))


@dataclass(frozen=True)
class Facts:
    """What a folder is about; the templates see its fields and properties.

    Parameters
    ----------
    engine : FlowMachine
    network, program : IntNetwork, Program, optional
        What is loaded.
    golden : Golden, optional
        Golden vectors of the network.
    embedded : bool
        The Verilog holds the network.
    aresetn : bool
        The top module has `aclk` and `aresetn`.
    clock_mhz : float
        Frequency in the constraints.
    """

    engine: FlowMachine
    network: IntNetwork | None = None
    program: Program | None = None
    golden: Golden | None = None
    embedded: bool = False
    aresetn: bool = False
    clock_mhz: float = 100.0

    @property
    def top(self) -> str:
        """Name of the module to integrate."""
        return ARESETN_TOP if self.aresetn else ENGINE_TOP

    @property
    def sources(self) -> list[str]:
        """Verilog files of the top."""
        return [f"{ENGINE_TOP}.v", *([f"{ARESETN_TOP}.v"] if self.aresetn else [])]

    @property
    def block_files(self) -> dict[str, str]:
        """Cells of AMD's multiplier blocks by the files that have them; none for logic of other makers."""
        return _BLOCK_FILES if self.engine.fabric == "lut6" else {}

    @property
    def fingerprint(self) -> str:
        """The engine's, as ENGINE_HI and ENGINE_LO show it."""
        return f"{self.engine.fingerprint():016x}"

    @property
    def interfaces(self) -> list[Interface]:
        """Ports of the top, bus by bus."""
        return interfaces(self.engine, aresetn=self.aresetn)

    @property
    def image(self) -> dict[str, Any] | None:
        """Shape and size of the network's images; None without a network."""
        if self.network is None:
            return None
        config = self.network.config
        size = config.img_size * config.img_size * config.in_chans
        return {
            "height": config.img_size,
            "width": config.img_size,
            "channels": config.in_chans,
            "bytes": size,
            "beats": size // self.engine.pixel_bytes,
            "classes": config.num_classes,
            "order": "row by row from the top left, channels interleaved, one unsigned byte each",
        }

    @cached_property
    def image_cycles(self) -> int | None:
        """Cycles from image to image in a long run; None without a network."""
        if self.program is None:
            return None
        return round(interval_of(self.program))

    @cached_property
    def latency_cycles(self) -> int | None:
        """Cycles of an image by itself, from the start of its run to its last logit; None without a network."""
        return None if self.program is None else self.program.cycles(1).total

    @cached_property
    def weights(self) -> dict[str, Any] | None:
        """The memory image of streamed weights, and what is read of it; None where there is none."""
        if self.program is None or self.image_cycles is None or not self.engine.memory_bits:
            return None
        bytes_a_cycle = memory_bytes(self.program.network.config, self.program.flow) / self.image_cycles
        return weight_map(self.program) | {"bytes_a_cycle": bytes_a_cycle}

    @property
    def sha256(self) -> str:
        """Of the network; empty without one."""
        return network_hash(self.network) if self.network else ""


def templates(facts: Facts) -> Environment:
    """Return the templates of this folder for some facts; what is missing in one is an error."""
    made = environment("bivit.hw.folder")
    made.globals |= {
        "version": __version__,
        "block_macro": MACRO,
        "texts": TEXTS,
        "registers": registers_of(facts.engine),
        "register": BY_NAME,
        "id_value": ID,
        "register_version": MAP_VERSION,
        "errors": ERROR_TEXTS,
    }
    return made


def write_pages(facts: Facts, folder: Path) -> None:
    """Write all files that come from templates.

    Parameters
    ----------
    facts : Facts
        What they are about.
    folder : Path
        Where; `README.md` lists what is in it by then, besides what is written here.
    """
    made = templates(facts)
    pages = [*_ALWAYS, *(_BENCHES if facts.golden else ())]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    files = [path for path in TEXTS if path in there | {*pages, "manifest.json"}]
    for page in pages:
        text = made.get_template(f"{page}.j2").render(folder=facts, files=files)
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / page, text)
