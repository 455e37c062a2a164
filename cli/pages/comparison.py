"""docs/comparison.md, this engine beside published ones: `python -m bivit.cli.pages.comparison` writes it.

With the word ``search`` behind it, engines are sought anew first (minutes), and docs/explored.json is written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ...sim.system.files import write_text
from .accelerators import Accelerator, ours, rivals, search_anew

#: The page, in the repository.
COMPARISON_PAGE = Path(__file__).resolve().parents[2] / "docs" / "comparison.md"
#: Measures of accelerators: their name in the data, and how many digits of ours are shown behind the point.
MEASURES = {
    "images_per_s": 0,
    "gops": 0,
    "gops_per_klut": 2,
    "luts": 0,
    "luts_per_mac": 2,
    "utilisation_percent": 1,
    "gops_per_w": 1,
    "top1_percent": 2,
}
#: How a number is known.
KNOWN = {
    "measured": "published; what was read says that it was evaluated on that device",
    "published": "published; what was read does not say how it was taken",
    "quoted": "from somebody else's table or notes about it",
    "estimated": "an estimate of its authors' tools",
    "derived": "arithmetic on published numbers, which stands beside it",
    "unknown": "not found in what could be read; it may well be published",
}
_HEAD = """# This engine beside published accelerators

Written by `python -m bivit.cli.pages.comparison` from docs/rivals.json, docs/explored.json and estimates: do not edit. With `search` behind it, the engines of docs/explored.json are sought anew.

## What is not comparable

- **Nothing of this engine was measured on a board.** Its cycles are exact (the RTL takes as many, [accelerator](accelerator.md#whole-images)); its clock is assumed or modelled, and images a second are as far off as that; look-up tables are estimated, with errors in [accuracy](accuracy.md). Feeding pixels and reading logits is not counted as a cost. Others say that they ran on a device, or do not say.
- **One bit is not three or eight.** An operation here is a product of single bits; others' are of three to eight bits, and each is worth many of these. GOPS count a multiplication and an addition as two, whatever their width; ours are the useful products of the blocks, without padding.
- **Accuracy is paid for.** Fully binarized networks are far below the others (last table); no network of this size was trained here.
- **The networks are not the same.** No published accelerator was found that runs Bi-ViT: COBRA and BETA run binary BERT, FINN-R a perceptron; others run DeiT with wider numbers.
- **Look-up tables are not the same.** Ours are cells before packing; others' may be of placed designs, and not all say so; a VCK190's are not a ZCU102's, and on it our constants are those of UltraScale+.
- **Devices are filled by estimate.** Beside the clock stands how full the fullest resource of the device is; of an engine that takes nearly all of it nobody knows whether it can be placed at that clock.
- **Devices differ.** DeiT-Base fits a ZCU102 by estimate with all that is large in its memory (engine `base_zcu102`); in these tables it stands on larger devices than VAQF's and Auto-ViT-Acc's.

## How numbers are known

"""  # noqa: E501
_SECTIONS = (
    ("DeiT-Tiny, images a second", "images_per_s", "DeiT-Tiny", ""),
    ("DeiT-Small, images a second", "images_per_s", "DeiT-Small", ""),
    ("DeiT-Base, images a second", "images_per_s", "DeiT-Base", ""),
    ("Operations a second", "gops", None, "GOPS: 10^9 multiplications and additions."),
    (
        "Operations a second for a thousand look-up tables",
        "gops_per_klut",
        None,
        "GOPS for 1,000 LUT, of all that an accelerator takes.",
    ),
    ("Look-up tables", "luts", None, "Of all that an accelerator takes."),
    (
        "Look-up tables for a product of bits",
        "luts_per_mac",
        None,
        "A product a cycle with its share of the sum; ours are the array's dot units with their accumulators.",
    ),
    (
        "Utilisation",
        "utilisation_percent",
        None,
        "Percent. Ours: useful products over those that the array could do, in a long run; of others what they say.",
    ),
    ("Energy", "gops_per_w", None, "GOPS for a watt. Ours is unknown: nothing models power here."),
    (
        "Accuracy",
        "top1_percent",
        None,
        "Top-1 on ImageNet-1k, percent. Ours is unknown: nothing was trained on it.",
    ),
)


def render(accelerators: Sequence[Accelerator]) -> str:
    """Return the page.

    Parameters
    ----------
    accelerators : sequence of Accelerator
        Published ones, and this engine.
    """
    kinds = [f"| {name} | {text} |" for name, text in KNOWN.items()]
    kinds += ["| ours | of this engine, by the command; then what is least certain of it |"]
    parts = [_HEAD + "\n".join(["| kind | a number is |", "|---|---|", *kinds])]
    parts += [_section(accelerators, *section) for section in _SECTIONS]
    return "\n\n".join(parts) + "\n"


def _section(accelerators: Sequence[Accelerator], title: str, measure: str, work: str | None, text: str) -> str:
    """A table of one measure, the largest number first and unknown ones last."""
    found = [one for one in accelerators if measure in one.numbers and work in (None, one.work)]
    found.sort(key=lambda one: -(one.numbers[measure].value or 0))
    heads = ("accelerator", "device", *(() if work else ("work",)), "bits", "number", "kind", "source or command")
    rows = [heads, ("---",) * len(heads), *(_row(one, measure, work) for one in found)]
    lines = [f"## {title}", "", *([text, ""] if text else []), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def _row(one: Accelerator, measure: str, work: str | None) -> tuple[str, ...]:
    number = one.numbers[measure]
    digits = f",.{MEASURES[measure]}f" if one.ours else ",g"  # of others as many as they give
    value = "unknown" if number.value is None else format(number.value, digits)
    name = f"**{one.name}**" if one.ours else one.name
    return (name, one.device, *(() if work else (one.work,)), one.bits, value, number.kind, number.source)


if __name__ == "__main__":
    if sys.argv[1:] == ["search"]:
        search_anew()
    write_text(COMPARISON_PAGE, render([*ours(), *rivals()]))
