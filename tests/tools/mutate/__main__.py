"""The command line of the mutants: ``python -m tests.tools.mutate --engine tiny --count 100 --seed 1``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console
from rich.progress import Progress

from bivit.sim.errors import BivitError
from mutate.campaign import Campaign, counts, described
from mutate.subjects import ENGINES


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m tests.tools.mutate", description=__doc__)
    found.add_argument("--engine", default="tiny", help=f"{', '.join(ENGINES)} or random:SEED (default: %(default)s)")
    found.add_argument("--count", type=int, default=100, help="mutants, all in one build (default: %(default)s)")
    found.add_argument("--seed", type=int, default=1, help="of the sample (default: %(default)s)")
    found.add_argument("--unit", default="", help="only of modules in whose name this is")
    found.add_argument("--cache", type=Path, help="folder in which builds and results are kept")
    found.add_argument("--again", action="store_true", help="try those again that survived before")
    found.add_argument("--json", action="store_true", help="print all verdicts as JSON")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run a campaign; return 0 when nothing survived, 1 when something did, 2 for bad input."""
    asked = parser().parse_args(arguments)
    try:
        campaign = Campaign(
            asked.engine, count=asked.count, seed=asked.seed, unit=asked.unit, cache=asked.cache, again=asked.again
        )
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task(f"mutants of {asked.engine}")
            verdicts = campaign.run(lambda done, count: bar.update(task, completed=done, total=count))
    except BivitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report = {"engine": asked.engine, "seed": asked.seed, **counts(verdicts)}
    if asked.json:
        print(json.dumps({**report, "mutants": [asdict(one) for one in verdicts]}, indent=1))
    else:
        print(*(described(one) for one in verdicts if one.verdict == "survived"), report, sep="\n")
    return int(report["survived"] > 0)


if __name__ == "__main__":
    sys.exit(main())
