"""The search for an engine: bounds of hundreds, resources of those that can fit, exact cycles of a few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from math import inf

from ..engine.config import Fabric
from ..errors import BivitError, check
from ..estimate.choice import too_small
from ..estimate.devices import DEVICES, Device
from ..estimate.resources import ResourceReport, estimate_resources, images_per_s, shares_text, unit_cost
from ..flow.config import FlowConfig
from ..flow.presets import FLOW_ENGINES
from ..mapping.loads import loads_of
from .aim import Aim, Exploration, Found, Progress, by_speed
from .finalists import Names, cheapest, fastest
from .narrower import could_narrow, narrower
from .points import Point, could_spread, front, leaner, point_of, spread
from .sizing import sized, wishes
from .streaming import with_one_bank, with_one_image, with_streamed_edge, with_streamed_patches, with_streamed_weights
from .windowed import SLACKS, windowed, with_groups

#: Shares of the array's load that other parts may have.
_SLACKS = (0.7, 0.95, 1.25)
#: Engines, the best first, whose memories it is tried to make of something else: those too large in memory alone, and
#: those that are to leave most of the device.
_SPREAD = 40
#: Engines, the best first, whose parts are made narrower.
_NARROWED = 8


def _quiet(what: str, done: int, count: int) -> None:
    """Tell nobody."""


def explore(target: Device, aim: Aim, *, tell: Progress = _quiet, sized_before: Names | None = None) -> Exploration:
    """Return the best engine for some networks on a device, with what else there is.

    Parameters
    ----------
    target : Device
    aim : Aim
    tell : callable
        Told how far it is.
    sized_before : mapping, optional
        What `candidates` gave, in the same logic.

    Raises
    ------
    BivitError
        When nothing is known of the device's architecture; when no engine fits, or none that does is so fast: the
        nearest there is.
    """
    check_estimated(target)
    flows = candidates(target, aim, tell) if sized_before is None else sized_before
    points = _points(flows, target, aim, tell)
    fit = _fitting(points, aim)
    for streamed_in in (
        with_streamed_weights,
        with_streamed_edge,
        with_streamed_patches,
        with_one_image,
        with_one_bank,
    ):
        # Where no engine that is sized fits, and none that holds its weights, these may come from a memory beside the
        # device, and what the edge reads as well; then one image may be in flight alone, and at last in the engine.
        if any(not (point.flow.streamed and flows.get(point.flow)) for point in fit):
            break
        streamed = streamed_in(_leanest_and_widest(flows, target), aim)
        more = _points(streamed, target, aim, tell)
        fit = sorted([*fit, *_fitting(more, aim)], key=aim.order)
        flows, points = {**flows, **streamed}, points + more
    narrow = _narrowed(points, fit, aim)
    fit = fit or narrow
    if not fit:
        raise BivitError(_none_fits(points, target) if flows else _none_holds(target, aim))
    if aim.fps is not None:
        fit = sorted(_leaner(fit, flows, aim.fps), key=aim.order)
    best = None if aim.fps is None else cheapest(fit, flows, aim.fps, aim, tell)
    found = [best] if best is not None else _fastest(fit, narrow, flows, target, aim, tell)
    every = {point.flow: point for point in (*points, *fit, *narrow, *(one.point for one in found))}
    return Exploration(
        target=target,
        best=found[0],
        others=tuple(found[1:]),
        points=tuple(sorted(every.values(), key=by_speed)),
        front=tuple(front([*fit, *narrow])),
        names=flows,
        sized=len(flows),
    )


def _fastest(
    fit: Sequence[Point], narrow: Sequence[Point], flows: Names, target: Device, aim: Aim, tell: Progress
) -> list[Found]:
    """Finalists with their exact cycles; refuses what is slower than asked for."""
    found = fastest(sorted(fit, key=by_speed) if aim.fps is not None else fit, narrow, flows, aim, tell)
    check(bool(found), f"every slot table that was tried locks up on {target.part}; take another device")
    if aim.fps is not None and found[0].images_per_s < aim.fps:
        raise BivitError(_too_slow(found[0].images_per_s, aim.fps, target, fit[0].clock_mhz))
    return found


def explore_all(aim: Aim, *, tell: Progress = _quiet) -> Exploration:
    """Return the best engine on the smallest device that is enough: the one with the fewest look-up tables.

    Parameters
    ----------
    aim : Aim
        With a speed.
    tell : callable
        As of `explore`.

    Raises
    ------
    BivitError
        When no speed is given, or no device is enough: what the largest one lacks.
    """
    check(
        aim.fps is not None,
        "--target auto takes the smallest device that is fast enough: say how fast with --fps, or name a target",
    )
    known, by_logic = known_devices(), dict[Fabric, Names]()
    for number, target in enumerate(known[:-1]):
        if target.fabric not in by_logic:
            by_logic[target.fabric] = candidates(target, aim, tell)
        tell(f"trying {target.part}", number, len(known))
        if _may_suffice(target, aim, by_logic[target.fabric]):
            try:
                return explore(target, aim, tell=tell, sized_before=by_logic[target.fabric])
            except BivitError:  # bounds allowed more than slot tables reach
                continue
    try:
        return explore(known[-1], aim, tell=tell, sized_before=by_logic.get(known[-1].fabric))
    except BivitError as error:
        raise BivitError(f"no device is enough; of the largest: {error}") from error


def known_devices() -> list[Device]:
    """Return the devices that engines are estimated on, those with fewer look-up tables first."""
    return sorted((one for one in DEVICES.values() if one.family), key=lambda one: one.luts or 0)


def check_estimated(target: Device) -> None:
    """Refuse a device of which nothing is estimated.

    Parameters
    ----------
    target : Device

    Raises
    ------
    BivitError
        With the devices of which something is.
    """
    known = ", ".join(name for name, one in DEVICES.items() if one.family)
    check(
        target.family is not None,
        f"there are no estimates for {target.architecture}, so nothing says which engine fits {target.part}; targets "
        f"with estimates are {known}",
    )


def candidates(target: Device, aim: Aim, tell: Progress = _quiet) -> dict[FlowConfig, str | None]:
    """Return named engines without windows that hold the networks, by name, and engines that are sized for them.

    Parameters
    ----------
    target : Device
        In whose logic they are written.
    aim : Aim
    tell : callable
    """
    windows = windowed(aim.configs)
    found: dict[FlowConfig, str | None] = {
        flow.in_fabric(target.fabric): name
        for name, flow in FLOW_ENGINES.items()
        if (flow.windows is not None) == windows and _holds(flow, aim)
    }
    wanted = list(wishes(aim.configs, (1 if aim.latency else 2,), SLACKS if windows else _SLACKS))
    for number, wish in enumerate(wanted):
        tell("sizing engines", number, len(wanted))
        flow = sized(aim.configs, aim.formats, wish, target.fabric)
        if flow is not None and _holds(flow, aim):
            found |= {one: found.get(one) for one in with_groups(aim.configs, flow)}
    return found


def _leanest_and_widest(flows: Names, target: Device) -> dict[FlowConfig, str | None]:
    """Engines whose array is not too large; of those that differ in widths alone the first and the last."""
    by_shape: dict[tuple[int | str, ...], list[FlowConfig]] = {}
    for flow, name in flows.items():
        if name is None and _array_fits(flow, target):
            shape = flow.engine.rows, flow.engine.columns, flow.together
            by_shape.setdefault((*shape, flow.weights, flow.edge_weights, flow.patch_weights), []).append(flow)
    return dict.fromkeys(flow for every in by_shape.values() for flow in (every[0], every[-1]))


def _fitting(points: Sequence[Point], aim: Aim) -> list[Point]:
    """Points that fit, the best for the aim first."""
    return sorted([*(point for point in points if point.fits), *_spread_out(points, aim)], key=aim.order)


def _holds(flow: FlowConfig, aim: Aim) -> bool:
    return not any(too_small(config, aim.formats, flow) for config in aim.configs)


def _points(flows: Names, target: Device, aim: Aim, tell: Progress) -> list[Point]:
    """Points of the engines whose array alone is not too large."""
    found: list[Point] = []
    for number, flow in enumerate(flows):
        tell("estimating resources", number, len(flows))
        if _array_fits(flow, target):
            found.append(_point(flow, target, aim))
    return found


def _point(flow: FlowConfig, target: Device, aim: Aim) -> Point:
    return point_of(aim.configs, flow, target, aim.clock_mhz or target.clock_mhz, aim.memory_gb_s, aim.fill_percent)


def _spread_out(points: Iterable[Point], aim: Aim) -> list[Point]:
    """Points whose memories alone are too many, made of something else so that they fit."""
    over = sorted(filter(could_spread, points), key=aim.order)
    return [found for point in islice(over, _SPREAD) if (found := spread(point))]


def _narrowed(points: Iterable[Point], fit: Sequence[Point], aim: Aim) -> list[Point]:
    """Points whose logic alone is too large, with narrower parts so that they fit; none that is slower than others."""
    most = min((point.loads.bound for point in fit), default=inf)
    over = sorted((point for point in points if could_narrow(point) and point.loads.bound < most), key=aim.order)
    return sorted(filter(None, (narrower(aim.configs, one, most) for one in islice(over, _NARROWED))), key=aim.order)


def _leaner(points: Sequence[Point], flows: Names, fps: float) -> list[Point]:
    """Points in their order, the first that are fast enough and not named with the memories that leave most room."""
    found: list[Point] = []
    tried = 0
    for point in points:
        wanted = point.most_images_per_s >= fps and not flows.get(point.flow) and tried < _SPREAD
        tried += wanted
        found.append(leaner(point) if wanted else point)
    return found


def _array_fits(flow: FlowConfig, target: Device) -> bool:
    assert target.family is not None
    luts = unit_cost("grid", flow, target.family, target.dsp_bits).luts
    return luts is None or target.luts is None or luts <= target.luts


def _may_suffice(target: Device, aim: Aim, flows: Names) -> bool:
    """Whether an engine fits a device whose loads allow the speed."""
    assert aim.fps is not None
    clock = aim.clock_mhz or target.clock_mhz
    for flow in sorted(flows, key=lambda one: one.engine.rows * one.engine.columns):
        bound = max(loads_of(config, flow).bound for config in aim.configs)
        if images_per_s(bound, clock) < aim.fps or not _array_fits(flow, target):
            continue
        point = _point(flow, target, aim)
        if point.fits or (could_spread(point) and spread(point)):
            return True
    return False


def _none_holds(target: Device, aim: Aim) -> str:
    """Say why no engine runs the networks: what is wrong with the first that was sized."""
    for wish in wishes(aim.configs, (2,), _SLACKS):
        flow = sized(aim.configs, aim.formats, wish, target.fabric)
        for config in aim.configs if flow else ():
            assert flow is not None
            if reason := too_small(config, aim.formats, flow):
                return f"no engine holds these networks together: {reason}"
    return "no engine of legal widths holds these networks together; explore them apart, or take smaller ones"


def _none_fits(points: Sequence[Point], target: Device) -> str:
    """Say what the engine lacks that comes nearest."""
    if not points:
        return (
            f"no engine for this fits {target.part}: the array of even the smallest one is too large; take a larger "
            "device, or smaller networks"
        )
    nearest = min(points, key=lambda point: point.fullest)
    if nearest.report.fits is None:
        known = [one.name for one in known_devices() if _report(nearest.flow, one).total_of("luts") is not None]
        unknown = dict.fromkeys(row.unit for row in nearest.report.rows if row.value is None)
        made = "an engine with windows" if nearest.flow.windows else "an engine for this"
        return (
            f"what {made} takes of {target.part} is not known, since nothing is of its {', '.join(unknown)}; so "
            f"nothing says which one fits; targets for which it is known are {', '.join(known)}"
        )
    over = shares_text(nearest.over)
    larger = _smallest_that_holds(nearest)
    fits = f"it fits {larger.part}" if larger else "it fits no device that is known"
    flow = nearest.flow
    return (
        f"no engine for this fits {target.part}; the nearest, an array of {flow.engine.rows} x {flow.engine.columns}"
        f"{', weights streamed' if flow.streamed else ''}, takes {over} of it{_may(nearest)}; "
        f"{fits}; take a larger device, or --target auto with --fps"
    )


def _may(point: Point) -> str:
    """What may be taken, where that is not all."""
    return "" if point.fill_percent == 100 else f", of which {point.fill_percent:g} % may be taken (--fill)"


def _smallest_that_holds(point: Point) -> Device | None:
    """Return the device with the fewest look-up tables that an engine fits, in the logic that suits it."""
    for one in known_devices():
        report = _report(point.flow, one)
        if report.fits and not report.beyond(point.fill_percent):
            return one
    return None


def _report(flow: FlowConfig, target: Device) -> ResourceReport:
    return estimate_resources(flow.in_fabric(target.fabric), target)


def _too_slow(most: float, fps: float, target: Device, clock_mhz: float) -> str:
    return (
        f"no engine that was found for {target.part} gives {fps:,.10g} images/s at {clock_mhz:g} MHz; the fastest "
        f"gives {most:,.0f}; ask for less, or take a larger device"
    )
