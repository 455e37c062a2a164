"""docs/accuracy.md, how far every kind of number is off: `python -m bivit.hw.accuracy.page` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

from ...sim.system.files import write_text
from ..synthesis import timing_page
from ..synthesis.calibrate import FAMILIES, MEASUREMENTS, load_measurements, load_tools
from ..synthesis.flows import FLOWS
from ..synthesis.synth import OTHER_COMPONENTS, SYNTHESISED
from .clocks import ClockRow, ClockSummary, clock_rows, clock_summaries
from .compared import Compared, Summary, compare, kept_pairs, summaries
from .pairs import Campaign, load_campaign
from .searches import Search, Searches, load_searches

ROOT = Path(__file__).resolve().parents[2]
#: The page, in the repository.
ACCURACY_PAGE = ROOT / "docs" / "accuracy.md"
_TITLES = {"luts": "LUT", "ffs": "FF", "dsps": "DSP", "brams": "BRAM"}
_HEAD = """# How far numbers are off

Written by `python -m bivit.hw.accuracy.page` from docs/pairs.json, docs/synthesis.json, docs/timing.json, docs/timing_error.json and docs/searches.json: do not edit. `bivit estimate --check` prints the same, each row with `--json`; `--fresh N` synthesises N of the held-out pairs now.

| number | kind | how far it is off |
|---|---|---|
| cycles, stalls | predicted exactly | not at all: [every image that was simulated](accelerator.md#whole-images) took the cycles predicted, by `bivit cosim NET --engine E --images N`; [campaigns](accelerator.md#campaigns) of random engines, networks and pauses compare them too; pairs that nobody has seen [below](#cycles) |
| multiplier blocks, block memories | estimated by rules | see below: exact wherever both are known |
| look-up tables, flip-flops | estimated, weights fitted to synthesis | see below |
| clocks | placed, modelled or assumed | see below |
| images a second | cycles and clock | as far as the clock |
| the engine that `bivit explore` chooses | the fastest that was found | random engines beside it [below](#searches) |

"""  # noqa: E501


def render(rows: Sequence[Compared], clocks: Sequence[ClockRow], campaign: Campaign, searches: Searches) -> str:
    """Return the page.

    Parameters
    ----------
    rows : sequence of Compared
        Of what is held out.
    clocks : sequence of ClockRow
    campaign : Campaign
        Cycles of pairs.
    searches : Searches
        Engines that were drawn beside those of `bivit explore`.
    """
    parts = [
        *(_cycles(campaign), _resources(list(summaries(rows))), _by_unit(rows), _clocks(clocks)),
        *(_searches(searches), _sources(rows)),
    ]
    return _HEAD + "\n\n".join("\n".join(part) for part in parts) + "\n"


def _cycles(campaign: Campaign) -> Iterator[str]:
    pairs = campaign.pairs
    right = [one for one in pairs if one.agrees]
    values = sum(one.values for one in right)
    tools = ", ".join(f"{name} {version}" for name, version in campaign.tools.items())
    yield "## Cycles\n"
    yield (
        "Networks and engines that were drawn at random and never seen before, on the way of `bivit cosim`: "
        f"{len(right)} of {len(pairs)} runs took the cycles predicted, with every tensor equal to the reference's "
        f"({values:,} values), by `{campaign.command}` on {campaign.made} ({tools}). A *sized* engine is made for its "
        "network as `bivit explore` makes them, a *drawn* one is any. A network is tokens, blocks x (channels / heads, "
        "hidden channels), and its modes.\n"
    )
    yield "| seed | engine is | network | engine | images | predicted | simulated | values | wrong |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for one in pairs:
        yield (
            f"| {one.seed} | {one.kind} | {one.network} | {one.engine} | {one.images} | {one.predicted:,} | "
            f"{one.simulated:,} | {one.values:,} | {one.wrong} |"
        )


def _resources(found: Sequence[Summary]) -> Iterator[str]:
    yield "## Resources\n"
    yield (
        "Cells before packing, as Yosys emits them, on engines that the fit has not seen; unit by unit in "
        "[resources](resources.md). An error is that of the estimate, relative to synthesis; small units weigh as "
        "much as large ones here. No weight is fitted to these engines; which sizes a unit grows with was in part "
        "found where their errors were seen. The largest errors are those of memories with many rows of blocks, whose "
        "multiplexers Yosys maps better in some places than in others. Placement packs look-up tables more densely "
        "than these counts say.\n"
    )
    yield "| family | quantity | of | engines | comparisons | exact | median error | worst error | worst |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for one in found:
        yield (
            f"| {one.family} | {_TITLES[one.quantity]} | {one.of} | {one.engines} | {one.rows} | {one.exact} | "
            f"{_percent(one.median_error)} | {_percent(one.worst_error)} | {one.worst or ''} |"
        )


def _by_unit(rows: Sequence[Compared]) -> Iterator[str]:
    yield "## Units\n"
    yield "The same, unit by unit, all families: median and worst error of look-up tables and flip-flops.\n"
    yield "| unit | engines | LUT, median | worst | FF, median | worst |"
    yield "|---|---|---|---|---|---|"
    for unit in (*SYNTHESISED, *OTHER_COMPONENTS):
        of = [row for row in rows if row.unit == unit]
        if of:
            columns = [_sizes(row for row in of if row.quantity == name) for name in ("luts", "ffs")]
            cells = [_percent(value) for sizes in columns for value in (median(sizes), max(sizes))]
            yield f"| {unit} | {len({row.engine for row in of})} | {' | '.join(cells)} |"


def _sizes(rows: Iterable[Compared]) -> list[float]:
    return [abs(row.error) for row in rows if row.error is not None]


def _clocks(rows: Sequence[ClockRow]) -> Iterator[str]:
    yield "## Clocks\n"
    yield (
        "`placed` is what nextpnr routed. An estimate of a family takes the slowest whole engine of it that was "
        "placed; a clock of the static model is that of a unit by itself ([timing](timing.md)), and its units here are "
        "of an engine before the dataflow. No open tool places UltraScale+ or 7-series: their clocks are assumed, and "
        "their error is not known.\n"
    )
    yield "| family | clock is | held out | median error | worst error |"
    yield "|---|---|---|---|---|"
    yield from (_clock_summary(one) for one in clock_summaries(rows, FAMILIES))
    yield "\n| engine | unit | part | estimated MHz | clock is | placed MHz | error | held out |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        yield (
            f"| {row.engine} | {row.unit} | {row.part} | {row.estimated_mhz:.1f} | {row.kind} | {row.placed_mhz:.1f} | "
            f"{row.error:+.1%} | {'yes' if row.held_out else ''} |"
        )


def _clock_summary(one: ClockSummary) -> str:
    return f"| {one.family} | {one.kind} | {one.rows} | {_percent(one.median_error)} | {_percent(one.worst_error)} |"


def _searches(made: Searches) -> Iterator[str]:
    yield "## Searches\n"
    yield (
        "Is an engine that `bivit explore NET --target T` did not look at faster than the one that it chose? Engines "
        "are drawn, half of them near the chosen one, every width from all that are legal: those whose loads alone "
        "take as many cycles are slower; of the others that fit by estimate the fastest by their loads are compiled, "
        f"and the exact cycles from image to image compared, by `{made.command}` on {made.made}. Seconds are of the "
        "exploration: processor time, of one core.\n"
    )
    yield (
        "| network | target | chosen | cycles | seconds | drawn | legal | slower | fit | compiled | fewest cycles | "
        "fewer by |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    yield from (_search(one) for one in made.searches)


def _search(one: Search) -> str:
    best = "" if one.best_interval is None else f"{one.best_interval:,.0f} ({one.best_engine})"
    return (
        f"| {one.net} | {one.target} | {one.chosen} | {one.chosen_interval:,.0f} | {one.seconds:.0f} | {one.drawn:,} | "
        f"{one.legal:,} | {one.slower:,} | {one.fit:,} | {one.compiled} | {best} | "
        f"{_percent(one.gain) if one.beaten else 'none'} |"
    )


def _sources(rows: Sequence[Compared]) -> Iterator[str]:
    engines = sorted({row.engine for row in rows})
    drawn = [name for name in engines if name.startswith("drawn-")]
    chosen = [name for name in engines if name not in drawn]
    tools = ", ".join(f"{name} {version}" for name, version in load_tools().items())
    yield "## Where this is from\n"
    yield f"- Held out: {', '.join(chosen)}" + (f", and {len(drawn)} engines drawn at random." if drawn else ".")
    if drawn:
        yield (
            "- Engines `drawn-SEED-NUMBER`, and which of their units are synthesised, are drawn by "
            "`hw/synthesis/drawn.py`; those of the fit have another seed."
        )
    yield f"- docs/{MEASUREMENTS.name}: {tools}; `python -m bivit.hw.synthesis.calibrate measure` adds what is missing."
    yield from (f"- {family}: `{FLOWS[family].script}`" for family in FAMILIES)
    for section, used in timing_page.load()[1].items():
        yield f"- docs/{timing_page.FIGURES.name}, {section}: {used}"
    yield (
        "- `make refit` fits the weights to docs/synthesis.json anew and writes this page, docs/resources.md and what "
        "tests keep of estimates."
    )


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def page() -> str:
    """Return the page of what is kept."""
    return render(
        [row for one in kept_pairs(load_measurements()) for row in compare(one)],
        clock_rows(),
        load_campaign(),
        load_searches(),
    )


if __name__ == "__main__":
    write_text(ACCURACY_PAGE, page())
