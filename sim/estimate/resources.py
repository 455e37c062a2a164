"""Resources of an engine on a device: unit by unit, their total, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal

from ..engine.pipeline import LEAST_PRODUCT_BITS, Product
from ..errors import BivitError, check
from ..flow.config import FlowConfig
from ..network.formats import Formats
from .constants import CONSTANTS, TOOLS
from .cost import NOTHING, Cost, total
from .devices import Device, Family, device
from .engine_units import footprints
from .footprint import weighted_sum
from .ram import ram_cost

Kind = Literal["estimated", "synthesised", "assumed"]

#: Quantities of a `Cost`, in the order of the tables; a report of a device without UltraRAM leaves that out.
QUANTITIES: tuple[str, ...] = tuple(f.name for f in fields(Cost))
#: Architectures that the constants of their families were fitted to; for others they are taken over.
CALIBRATED = ("ECP5", "7-series", "UltraScale+")

#: Clocks in MHz that an engine may be asked about, beyond those of any device.
_CLOCKS = (1e-3, 1e4)
_RULES = {
    "dsps": "multiplications of the unit, cut into the device's blocks",
    **dict.fromkeys(("brams", "urams"), "the unit's memories, by the rule of sim.estimate.ram"),
}


@dataclass(frozen=True)
class ResourceRow:
    """One number of a report: `value` is None when it is unknown; `kind` and `source` say where it comes from."""

    unit: str
    quantity: str
    value: float | None
    kind: Kind
    source: str


@dataclass(frozen=True)
class ResourceReport:
    """Resources of an engine on one device.

    Parameters
    ----------
    device : Device
        What the engine is to fit.
    rows : tuple of ResourceRow
        A row for each unit and quantity.
    """

    device: Device
    rows: tuple[ResourceRow, ...]

    @property
    def quantities(self) -> tuple[str, ...]:
        """Quantities that the report is about: those of `QUANTITIES`, UltraRAM only where the device has any."""
        return quantities_of(self.device)

    @property
    def units(self) -> dict[str, Cost]:
        """Cost of each unit."""
        values: dict[str, dict[str, float | None]] = {}
        for row in self.rows:
            values.setdefault(row.unit, {})[row.quantity] = row.value
        return {unit: Cost(**cost) for unit, cost in values.items()}

    @property
    def totals(self) -> Cost:
        """Cost of the engine.

        Raises
        ------
        BivitError
            When a quantity of a unit is unknown.
        """
        return total(self.units)

    @property
    def available(self) -> Cost:
        """What the device has."""
        return Cost(**{name: getattr(self.device, name) for name in self.quantities})

    def total_of(self, quantity: str) -> float | None:
        """Return the total of one quantity, or None when that of a unit is unknown."""
        values = [row.value for row in self.rows if row.quantity == quantity]
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    @property
    def utilisation(self) -> dict[str, float | None]:
        """Percent of the device by quantity; None when one of the two numbers is unknown."""
        percent: dict[str, float | None] = {}
        for name in self.quantities:
            used, available = self.total_of(name), getattr(self.device, name)
            percent[name] = None if used is None or available is None else 100 * used / available
        return percent

    @property
    def fits(self) -> bool | None:
        """Whether nothing exceeds the device; None when that cannot be told."""
        if self.beyond():
            return False
        return None if None in self.utilisation.values() else True

    def beyond(self, fill_percent: float = 100) -> dict[str, float]:
        """Return the percent of each quantity of which an engine takes more than it may, of what is known.

        Parameters
        ----------
        fill_percent : float
            What it may take of each.
        """
        shares = self.utilisation.items()
        return {name: share for name, share in shares if share is not None and share > fill_percent}

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON: device, rows, totals, available, utilisation_percent, fits."""
        return {
            "device": asdict(self.device),
            "rows": [asdict(row) for row in self.rows],
            "totals": {name: self.total_of(name) for name in self.quantities},
            "available": {name: getattr(self.device, name) for name in self.quantities},
            "utilisation_percent": self.utilisation,
            "fits": self.fits,
        }


def quantities_of(device: Device) -> tuple[str, ...]:
    """Return the quantities of `QUANTITIES` that count on a device: UltraRAM only where it has any.

    Parameters
    ----------
    device : Device
    """
    return tuple(name for name in QUANTITIES if name != "urams" or device.urams != 0)


def title_of(quantity: str) -> str:
    """Return the heading of a quantity in tables.

    >>> title_of("luts")
    'LUT'
    """
    return quantity[:-1].upper()


def shares_text(percent: Mapping[str, float]) -> str:
    """Return percents of a device, by quantity, as messages have them.

    >>> shares_text({"luts": 57.2, "dsps": 120})
    'LUT 57 %, DSP 120 %'
    """
    return ", ".join(f"{title_of(quantity)} {share:.0f} %" for quantity, share in percent.items())


def estimate_resources(flow: FlowConfig, target: Device | str) -> ResourceReport:
    """Estimate the resources of an engine without synthesis.

    Numbers are cells before packing, as Yosys emits them (docs/resources.md has their errors). They are marked
    "assumed" where the constants were not fitted to the architecture, or not to the engine's number formats and logic,
    and unknown on architectures without constants.

    Parameters
    ----------
    flow : FlowConfig
    target : Device or str
        Device, or its name in `sim.estimate.devices`.

    Raises
    ------
    BivitError
        When there is no such device.
    """
    found = device(target) if isinstance(target, str) else target
    family, quantities = found.family, quantities_of(found)
    if family is None:
        nothing = f"there are no constants for {found.architecture}"
        unknown = (
            ResourceRow(unit, name, None, "assumed", nothing) for unit in footprints(flow) for name in quantities
        )
        return ResourceReport(found, tuple(unknown))
    engine = flow.engine
    fitted = found.architecture in CALIBRATED and engine.formats == Formats() and engine.fabric == found.fabric
    rows = []
    for unit in footprints(flow):
        cost = unit_cost(unit, flow, family, found.dsp_bits, urams="urams" in quantities)
        for name in quantities:
            rule = _RULES.get(name)
            kind: Kind = "estimated" if fitted or rule else "assumed"
            rows.append(
                ResourceRow(unit, name, getattr(cost, name), kind, rule or TOOLS.get(family, "nothing was synthesised"))
            )
    return ResourceReport(found, tuple(rows))


def unit_cost(unit: str, flow: FlowConfig, family: Family, dsp_bits: tuple[int, int], *, urams: bool = False) -> Cost:
    """Return the estimated cost of one unit.

    Parameters
    ----------
    unit : str
        Name in `sim.estimate.engine_units.footprints` of it.
    flow : FlowConfig
    family : {"xcup", "xc7", "ecp5"}
        Of the device.
    dsp_bits : tuple of int
        Signed operands of a multiplier block, the wider one first.
    urams : bool
        Whether the device has UltraRAM.

    Raises
    ------
    BivitError
        When the unit is unknown.
    """
    units = footprints(flow)
    check(unit in units, f"there is no unit {unit!r}; there are {', '.join(units)}")
    found = units[unit](flow)
    memories = NOTHING
    for ram in found.rams:
        memories += ram_cost(ram, family, urams=urams)
    constants = CONSTANTS.get(family, {}).get(unit, {})
    logic = Cost(
        luts=weighted_sum(found.sizes, constants.get("luts")),
        ffs=weighted_sum(found.sizes, constants.get("ffs")),
        dsps=sum(dsp_blocks(product, dsp_bits) for product in found.products),
        brams=0,
    )
    return rounded(logic + memories)


@lru_cache(maxsize=1024)
def dsp_blocks(product: Product, dsp_bits: tuple[int, int]) -> int:
    """Multiplier blocks of one product of signed operands, cut as Yosys' `mul2dsp` does.

    All parts but the top one are unsigned, which takes a bit of blocks that only know signed operands; ECP5's, the ones
    with equal operands, know both. A top part of a single bit is made of LUTs, and so is on AMD's parts a product of
    few bits.

    >>> dsp_blocks((27, 18), (27, 18)), dsp_blocks((27, 18), (25, 18)), dsp_blocks((19, 18), (18, 18))
    (1, 2, 1)
    >>> dsp_blocks((3, 6), (27, 18)), dsp_blocks((4, 6), (27, 18)), dsp_blocks((3, 6), (18, 18))
    (0, 1, 1)
    """
    if dsp_bits[0] != dsp_bits[1] and sum(product) - 1 < LEAST_PRODUCT_BITS:
        return 0
    step = dsp_bits[1] - (dsp_bits[0] != dsp_bits[1])
    blocks = 1
    for bits, limit in zip(sorted(product, reverse=True), dsp_bits, strict=True):
        lower = max(0, -(-(bits - limit) // step))
        blocks *= lower + (bits - lower * step > 1)
    return blocks


def rounded(cost: Cost) -> Cost:
    """Round to whole cells; block memories come in halves and are exact already."""
    values = {name: None if (v := getattr(cost, name)) is None else round(v) for name in ("luts", "ffs", "dsps")}
    return Cost(**values, brams=cost.brams, urams=cost.urams)


def images_per_s(cycles: float, clock_mhz: float) -> float:
    """Images a second of an engine that takes `cycles` an image at a clock in MHz.

    Raises
    ------
    BivitError
        When either is not above 0, or the clock is none of a device.

    >>> images_per_s(20_000, 250)
    12500.0
    """
    if cycles <= 0 or clock_mhz <= 0:
        raise BivitError(f"cycles and clock must be above 0, got {cycles} cycles and {clock_mhz} MHz")
    check(_CLOCKS[0] <= clock_mhz <= _CLOCKS[1], f"clock must be 0.001 to 10,000 MHz, got {clock_mhz:g} MHz")
    return clock_mhz * 1e6 / cycles


def latency_us(cycles: float, clock_mhz: float) -> float:
    """Microseconds that `cycles` take at a clock in MHz; errors as `images_per_s`.

    >>> latency_us(20_000, 250)
    80.0
    """
    return 1e6 / images_per_s(cycles, clock_mhz)
