"""The base of all components: of those that are equal, a conversion to text elaborates one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from amaranth.hdl import Elaboratable, Fragment, Instance, ResetInserter, Value
from amaranth.lib import wiring

from .contents import Contents


class Component(wiring.Component):
    """A component that becomes a module of its own when a design is converted, and one for all that are equal to it.

    Amaranth's simulator sees the component itself. In a conversion, told by its platform, a `StandIn` is in its place
    wherever it is a submodule, and `hw.convert` elaborates one of each `parameters`. So what is outside may use the
    ports of a component and nothing else of it, and `reset_by` takes the place of `ResetInserter`.
    """

    @property
    def module_name(self) -> str | None:
        """Name of its module, where others must know it; by default the path of its first instance is."""
        return None

    def __init_subclass__(cls, **arguments: Any):
        super().__init_subclass__(**arguments)
        if "elaborate" in vars(cls):
            setattr(cls, "elaborate", _apart(vars(cls)["elaborate"]))  # noqa: B010  a method, to a type checker


def _apart(elaborate: Callable[[Any, object], Any]) -> Callable[[Any, object], Any]:
    """Return an `elaborate` that gives the component's body, or a stand-in within the conversion of another one."""

    @wraps(elaborate)
    def body_or_stand_in(self: Component, platform: object) -> Any:
        if isinstance(platform, Conversion) and platform.body is not self:
            return StandIn(self)
        return elaborate(self, platform)

    return body_or_stand_in


@dataclass(frozen=True)
class Conversion:
    """The platform of a conversion.

    Parameters
    ----------
    body : Component
        Whose body is elaborated; all others are stand-ins.
    contents : Contents, optional
        What memories begin with.
    """

    body: Component
    contents: Contents | None = None


class StandIn(Instance):
    """An instance in place of a component; `hw.convert` says of which module, and connects it.

    Parameters
    ----------
    component : Component
        What it stands for.
    """

    def __init__(self, component: Component):
        super().__init__("")
        self.component = component
        self.reset_by: Value | None = None
        self.reset_alone = False


class reset_by(Elaboratable):
    """A component whose registers, and those within it, go to their initial values while `control` is high.

    Parameters
    ----------
    control : Value
        In the cycle after which they have them.
    component : Component
        Where the registers are.
    alone : bool
        In a conversion `control` takes the place of the domain's reset, so that no look-up table stands in front of all
        registers: for a register that this reset sets, and which so is high a cycle later and longer.
    """

    def __init__(self, control: Value, component: Component, *, alone: bool = False):
        self._control, self._component, self._alone = control, component, alone

    def elaborate(self, platform: object) -> Fragment:
        """Insert the reset; a module that stands apart takes it by its own reset."""
        fragment = Fragment.get(self._component, platform)
        if isinstance(fragment, StandIn):
            fragment.reset_by, fragment.reset_alone = self._control, self._alone
            return fragment
        return ResetInserter(self._control)(fragment)


def parameters(component: Component) -> Hashable:
    """Return all that a component's body depends on: its class, its ports, and its other attributes.

    Attributes count by value where they have one (numbers, texts, frozen dataclasses, and lists and mappings of these),
    else by identity: components with a signal or another component among theirs are equal to themselves only.
    """
    ports = set(component.signature.members)
    own = {name: value for name, value in vars(component).items() if name not in ports and name not in _AMARANTH}
    return type(component), repr(component.signature), _by_value(own)


#: Attributes that Amaranth gives a component: its signature, and where it was made.
_AMARANTH = frozenset(("_Component__signature", "_MustUse__used", "_MustUse__context"))


def _by_value(value: Any) -> Hashable:
    if isinstance(value, dict):
        return dict, tuple((_by_value(key), _by_value(value[key])) for key in value)
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_by_value, value))
    try:
        hash(value)
    except TypeError:  # a value that may change, or a signal, whose `==` is hardware
        return id(value)
    return type(value), value
