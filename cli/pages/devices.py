"""docs/devices.md, the devices and boards that are known: `python -m bivit.cli.pages.devices` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ...sim.estimate.boards import BOARDS, Board
from ...sim.estimate.devices import DEVICES, Device
from ...sim.system.files import write_text

#: The page, in the repository.
DEVICES_PAGE = Path(__file__).resolve().parents[2] / "docs" / "devices.md"
_HEAD = """# Devices and boards

Written by `python -m bivit.cli.pages.devices`: do not edit. Every name stands for its device with `--target`, in any case, with or without dashes. Numbers of devices are the makers'; of those without a family nothing is estimated.
"""  # noqa: E501
_BOARDS = """## Boards

Memory is beside the FPGA: engines with streamed weights read it. GB/s is width times rate, at most; where the rate is assumed or unknown it says so. Usable is the part of the logic that is assumed to be filled at most; what fits is told of the whole device. Prices are assumed, in US dollars.
"""  # noqa: E501


def render(devices: Mapping[str, Device], boards: Mapping[str, Board]) -> str:
    """Return the page.

    Parameters
    ----------
    devices, boards : mapping
        By name.
    """
    heads = ("board", "`--target`", "device", "memory", "GB/s", "usable", "price", "source")
    parts = ("`--target`", "part", "family", "LUT", "FF", "DSP", "block memories", "UltraRAM", "clock, MHz", "source")
    return "\n".join(
        [
            _HEAD,
            _table(parts, [_device_row(one) for one in devices.values()]),
            _BOARDS,
            _table(heads, [_board_row(one) for one in boards.values()]),
        ]
    )


def _device_row(one: Device) -> tuple[str, ...]:
    counts = (one.luts, one.ffs, one.dsps, one.brams, one.urams)
    clock = f"{one.clock_mhz:g}, {one.clock_kind}"
    numbers = ("unknown" if count is None else f"{count:,}" for count in counts)
    return f"`{one.name}`", one.part, one.family or f"none ({one.architecture})", *numbers, clock, one.source


def _board_row(one: Board) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in (one.name, *one.also))
    memory = one.memory
    if memory is None:
        what, speed = "none", "none"
    else:
        what = f"{memory.what}, {memory.bits} bits"
        speed = "unknown" if memory.gb_s is None else f"{memory.gb_s:.3g}, {memory.kind}"
    usable = f"{one.usable:.0%}, assumed"
    return one.title, names, f"`{one.device}`", what, speed, usable, one.price, one.source


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    write_text(DEVICES_PAGE, render(DEVICES, BOARDS))
