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

from ..errors import check
from ..flow.presets import FLOW_ENGINES
from ..network.config import ViTConfig
from ..network.formats import Formats
from ..network.presets import preset, vit_preset
from ..network.stage_view import stage_views
from ..system.files import read_json, write_text
from .cycles import interval_of, long_run_cycles, peak_macs, useful_macs
from .pass_program import PassSchedule
from .passes import passes_of
from .program import flow_cycles
from .shipped import TABLES, entry, key_of, read_table, sought, tables_in

#: Of a search, for a table that has no entry.
TRIES, SEED = 100, 1

#: Engine and network, by their names.
Pair = tuple[str, str]


def made(pair: Pair, tries: list[int], seed: int) -> dict[str, Any]:
    """Return the entry of a table that is sought now: how it was sought, `shipped.entry`, and cycles.

    On an engine with windows there is a table for the blocks of each stage.

    Parameters
    ----------
    pair : (str, str)
    tries : list of int
        As of `sought`: of each table, or of all.
    seed : int
        As of `sought`.
    """
    engine, net = pair
    shown = tries[0] if len(tries) == 1 else tries
    flow, how = FLOW_ENGINES[engine], {"engine": engine, "net": net, "tries": shown, "seed": seed}
    views = sought_for(pair)
    each = tries * len(views) if len(tries) == 1 else tries
    check(len(each) == len(views), f"--tries takes one number, or {len(views)}, got {len(tries)}")
    found = [
        entry(view, flow, sought(view, flow, tries=many, seed=seed)) for view, many in zip(views, each, strict=True)
    ]
    tables = {"passes": found} if flow.windows else found[0]
    return how | tables | figures(pair, tables)


def sought_for(pair: Pair) -> list[ViTConfig]:
    """Return what a table is sought for: the network, or each of its stages.

    Parameters
    ----------
    pair : (str, str)
    """
    if FLOW_ENGINES[pair[0]].windows is None:
        return [vit_preset(pair[1])]
    return [view for view in stage_views(preset(pair[1])) if view.merge is None]


def figures(pair: Pair, shipped: dict[str, Any]) -> dict[str, Any]:
    """Return the cycles of one image, and of an image among others, as `shipped.shipped_cycles` gives them.

    Parameters
    ----------
    pair : (str, str)
    shipped : dict
        As `made` returns it.
    """
    config, flow = preset(pair[1]), FLOW_ENGINES[pair[0]]
    tables = [read_table(one) for one in tables_in(shipped)]
    if flow.windows is None:
        shape = vit_preset(pair[1])
        single, interval = flow_cycles(shape, flow, tables[0], 1).total, long_run_cycles(shape, flow, tables[0])
    else:
        schedule = PassSchedule(config, flow, passes_of(config, Formats(), flow, tables))
        single, interval = schedule.cycles(1).total, interval_of(schedule)
    return {"single": single, "interval": interval}


def busy(pair: Pair, shipped: dict[str, Any]) -> float:
    """Return which part of the array's products is useful, in an image among others.

    Parameters
    ----------
    pair : (str, str)
    shipped : dict
        As `made` returns it.
    """
    config, flow = preset(pair[1]), FLOW_ENGINES[pair[0]]
    return useful_macs(config) / (figures(pair, shipped)["interval"] * peak_macs(flow))


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
    parser.add_argument(
        "--tries", type=int, nargs="+", help=f"steps of the search, of each stage or of all, else as before, or {TRIES}"
    )
    parser.add_argument("--seed", type=int, help=f"of the search, else as before, or {SEED}")
    parser.add_argument("--out", type=Path, default=TABLES, help="file that is read and written")
    chosen = parser.parse_args(arguments)
    entries = {(one["engine"], one["net"]): one for one in read_json(chosen.out, "the shipped slot tables")}
    todo = pairs(entries.values(), chosen.engine, chosen.net)
    for number, pair in enumerate(todo, 1):
        before = entries.get(pair, {})
        tries = chosen.tries or before.get("tries", TRIES)
        tries = tries if isinstance(tries, list) else [tries]
        seed = before.get("seed", SEED) if chosen.seed is None else chosen.seed
        _say(f"[{number}/{len(todo)}] {' '.join(pair)}, {' '.join(map(str, tries))} tries, seed {seed}: ")
        start, found, old = time.perf_counter(), made(pair, tries, seed), _before(pair, before)
        rate = busy(pair, found)
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
    keys = [key_of(view, FLOW_ENGINES[pair[0]]) for view in sought_for(pair)]
    if before and [one["key"] for one in tables_in(before)] == keys:
        return busy(pair, before)
    return 0.0


if __name__ == "__main__":
    main()
