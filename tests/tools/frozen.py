"""What bivit writes, as hashes: program words, load streams, cycles, resource estimates and Verilog.

A change that means to keep them runs the test; one that means to change them writes the file anew and says why:
``python tests/tools/frozen.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shapes import MODES, tiny_engine

from bivit.hw.emit import engine_modules
from bivit.sim.engine.config import EngineConfig
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.presets import ENGINES
from bivit.sim.estimate.resources import estimate_resources
from bivit.sim.flow.presets import FLOW_ENGINES
from bivit.sim.network.config import ModelConfig
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network
from bivit.sim.program.compiler import Program, compile_network
from bivit.sim.program.cycles import estimate_cycles
from bivit.sim.program.load_words import load_words

FILE = Path(__file__).with_suffix(".json")
#: Engine and model of each case: the named engines, and every mode on the small one.
CASES: dict[str, tuple[Callable[[], EngineConfig], ModelConfig]] = {
    "digits": (lambda: ENGINES["digits"], preset("digits")),
    "deit_tiny_6x32": (lambda: ENGINES["deit_tiny_6x32"], preset("deit_tiny")),
    "deit_tiny_33x32": (lambda: ENGINES["deit_tiny_33x32"], preset("deit_tiny")),
    **{f"small/{mode}": (tiny_engine, config) for mode, config in MODES.items()},
}
#: Engines whose Verilog is frozen; that of the larger ones takes minutes to write, and has the same generators.
VERILOG: dict[str, Callable[[], EngineConfig]] = {"digits": lambda: ENGINES["digits"], "small": tiny_engine}


def frozen_case(name: str) -> dict[str, Any]:
    """Everything but the Verilog of one of `CASES`."""
    make, config = CASES[name]
    engine = make()
    network = random_network(config, seed=3)
    program: Program = compile_network(network, engine)
    return {
        "words": _hash(program.words()),
        "load_stream": hashlib.sha256(build_stream(engine, load_words(network, program))).hexdigest()[:16],
        "cycles": {str(images): asdict(estimate_cycles(program, images)) for images in (1, 3)},
    }


def frozen_estimate(name: str) -> str:
    """Hash of the resources of a named engine on two devices."""
    reports = [estimate_resources(FLOW_ENGINES[name], device) for device in ("XCZU9EG", "LFE5U-85F")]
    return _hash([_numbers(report.to_dict()["rows"]) for report in reports])


def frozen_verilog(name: str) -> str:
    """Hash of the Verilog of one of `VERILOG`, without the comment that names the version."""
    return hashlib.sha256(engine_modules(VERILOG[name]()).encode()).hexdigest()[:16]


def _numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the words that say where a number is from."""
    return [{key: value for key, value in row.items() if key != "source"} for row in rows]


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def main() -> None:
    values = {"cases": {name: frozen_case(name) for name in CASES}}
    values["estimates"] = {name: frozen_estimate(name) for name in FLOW_ENGINES}
    values["verilog"] = {name: frozen_verilog(name) for name in VERILOG}
    FILE.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
