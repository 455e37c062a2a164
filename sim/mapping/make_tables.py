"""Makes the shipped slot tables again: `python -m bivit.sim.mapping.make_tables`.

Without options every table is sought as its entry says (`tries`, `seed`): after a change of the cycle model, the search
or the engines. With --engine or --net only those are, and a pair that has no table yet gets one. What is found takes
the place of what is shipped unless that fills more of the array; both rates are printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..flow.presets import FLOW_ENGINES
from ..flow.streams import TileShape
from ..flow.table import SlotTable
from ..network.presets import vit_preset
from ..system.files import read_json, write_text
from .cycles import long_run_cycles
from .program import flow_cycles
from .shipped import TABLES, entry, key_of, read_table, sought, steady_cycles

#: Of a search, for a table that has no entry.
TRIES, SEED = 100, 1

#: Engine and network, by their names.
Pair = tuple[str, str]


def made(pair: Pair, tries: int, seed: int) -> dict[str, Any]:
    """Return the entry of a table that is sought now: how it was sought, and `shipped.entry`.

    Parameters
    ----------
    pair : (str, str)
    tries, seed : int
        As of `sought`.
    """
    engine, net = pair
    config, flow = vit_preset(net), FLOW_ENGINES[engine]
    how = {"engine": engine, "net": net, "tries": tries, "seed": seed}
    table = sought(config, flow, tries=tries, seed=seed)
    return how | entry(config, flow, table) | figures(pair, table)


def figures(pair: Pair, table: SlotTable) -> dict[str, Any]:
    """Return the cycles of one image, and of an image among others, as `shipped.shipped_cycles` gives them.

    Parameters
    ----------
    pair : (str, str)
    table : SlotTable
    """
    config, flow = vit_preset(pair[1]), FLOW_ENGINES[pair[0]]
    return {"single": flow_cycles(config, flow, table, 1).total, "interval": long_run_cycles(config, flow, table)}


def busy(pair: Pair, table: SlotTable) -> float:
    """Return which part of the array's products is useful, in an image among others; 0 where the table locks up.

    Parameters
    ----------
    pair : (str, str)
    table : SlotTable
    """
    config, flow = vit_preset(pair[1]), FLOW_ENGINES[pair[0]]
    shape = TileShape(config, flow.engine.rows, flow.engine.columns)
    cycles = steady_cycles(config, flow, table)
    return shape.packing * config.depth * shape.tiles * shape.tile_steps / cycles if cycles else 0.0


def pairs(entries: Iterable[dict[str, Any]], engine: str | None, net: str | None) -> list[Pair]:
    """Return which tables are made: all that are shipped, those of an engine or of a network, or one of both.

    Parameters
    ----------
    entries : iterable of dict
        What is shipped.
    engine, net : str, optional
    """
    if engine and net:
        return [(engine, net)]
    shipped = [(one["engine"], one["net"]) for one in entries]
    return [pair for pair in shipped if engine in (None, pair[0]) and net in (None, pair[1])]


def write(entries: Iterable[dict[str, Any]], path: Path) -> None:
    """Write the file of tables, an entry a line.

    Parameters
    ----------
    entries : iterable of dict
    path : Path
    """
    lines = ",\n".join(f" {json.dumps(one)}" for one in entries)
    write_text(path, f"[\n{lines}\n]\n")


def main(arguments: list[str] | None = None) -> None:
    """Make tables, and write the file after each that is taken.

    Parameters
    ----------
    arguments : list of str, optional
        In place of the command's.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=FLOW_ENGINES, help="only of this one")
    parser.add_argument("--net", help="only of this preset")
    parser.add_argument("--tries", type=int, help=f"steps of the search, else as before, or {TRIES}")
    parser.add_argument("--seed", type=int, help=f"of the search, else as before, or {SEED}")
    parser.add_argument("--out", type=Path, default=TABLES, help="file that is read and written")
    chosen = parser.parse_args(arguments)
    entries = {(one["engine"], one["net"]): one for one in read_json(chosen.out, "the shipped slot tables")}
    todo = pairs(entries.values(), chosen.engine, chosen.net)
    for number, pair in enumerate(todo, 1):
        before = entries.get(pair, {})
        tries = before.get("tries", TRIES) if chosen.tries is None else chosen.tries
        seed = before.get("seed", SEED) if chosen.seed is None else chosen.seed
        _say(f"[{number}/{len(todo)}] {' '.join(pair)}, {tries} tries, seed {seed}: ")
        start, found, old = time.perf_counter(), made(pair, tries, seed), _before(pair, before)
        rate = busy(pair, read_table(found))
        if rate >= old:
            entries[pair] = found
            write(entries.values(), chosen.out)
        what = "not taken" if rate < old else "as before" if found == before else "changed"
        _say(f"{old:.2%} -> {rate:.2%}, {what}, {time.perf_counter() - start:.0f} s\n")


def _say(what: str) -> None:
    sys.stdout.write(what)
    sys.stdout.flush()


def _before(pair: Pair, before: dict[str, Any]) -> float:
    """Return how full the array was with the table before; 0 where there is none for this engine."""
    if before and before["key"] == key_of(vit_preset(pair[1]), FLOW_ENGINES[pair[0]]):
        return busy(pair, read_table(before))
    return 0.0


if __name__ == "__main__":
    main()
