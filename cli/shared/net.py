"""Finds the network that a command is asked for: a file of `bivit export`, or a preset with random weights."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...sim.errors import BivitError, check, near
from ...sim.system.result import OPTIONAL, Result
from .progress import say, step

if TYPE_CHECKING:
    from ...sim.estimate.devices import Device
    from ...sim.flow.config import FlowConfig
    from ...sim.network.config import ModelConfig
    from ...sim.network.formats import Formats
    from ...sim.network.network import IntNetwork

NetArgument = Annotated[
    str,
    typer.Argument(
        metavar="NET",
        help="Integer network, as written by `bivit export`; or a preset, such as deit_tiny, with random weights. A "
        "preset goes before a file of its name, which ./NAME means.",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="Name of an engine (sim, zcu102, latency), a JSON file with its fields, or a folder with engine.json.",
    ),
]
#: Taken where there is neither an engine nor a network.
_DEFAULT = "sim"
SeedOption = Annotated[int, typer.Option("--seed", help="Of the random weights of a preset.")]


@dataclass(frozen=True)
class NetFacts(Result):
    """What a result says of its network: `weights` are ``random``, or the file; those that are random have a seed."""

    network: str
    weights: str
    seed: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class Net:
    """A network that a command was given.

    Attributes
    ----------
    name : str
        As it was given.
    path : Path or None
        Its file; None for a preset.
    config, formats : ModelConfig, Formats
        Its shape, known without any weights.
    seed : int
        Of a preset's weights.
    loaded : IntNetwork or None
        What the file holds.
    """

    name: str
    path: Path | None
    config: ModelConfig
    formats: Formats
    seed: int
    loaded: IntNetwork | None = None

    @property
    def facts(self) -> NetFacts:
        """What a result says of it."""
        if self.path is None:
            return NetFacts(self.name, "random", self.seed)
        return NetFacts(self.name, str(self.path))

    @cached_property
    def network(self) -> IntNetwork:
        """The network with its weights."""
        if self.loaded is not None:
            return self.loaded
        from ...sim.network.random import random_network

        with step(f"draw the weights of {self.name} from seed {self.seed}"):
            return random_network(self.config, self.formats, self.seed)


def find_net(name: str, seed: int = 0) -> Net:
    """Return the preset or the file called `name`; a file is read and checked at once.

    Parameters
    ----------
    name : str
        A preset goes before a file of its name.
    seed : int
        Of a preset's weights.

    Raises
    ------
    BivitError
        When there is neither, or the file is no network: the presets, and the one that is most like `name`; when the
        seed is negative.
    """
    from ...sim.network.formats import Formats

    check(seed >= 0, f"seed must be 0 or more, got {seed}")
    shape = find_preset(name)
    if shape is not None:
        return Net(name, None, shape, Formats(), seed)
    check_file(name)
    from ...sim.network.file import load_network

    network = load_network(name)
    return Net(name, Path(name), network.config, network.formats, seed, network)


def find_preset(name: str) -> ModelConfig | None:
    """Return the preset called `name`, if there is one; a line says so where a file has that name too."""
    from ...sim.network.presets import PRESETS

    with suppress(OSError):  # nothing is needed of a folder that cannot be read
        if name in PRESETS and Path(name).is_file():
            say(f"{name} is the preset; ./{name} is the file of that name")
    return PRESETS.get(name)


def check_file(name: str, more: str = "") -> None:
    """Refuse what is no file, as a name that is no preset either.

    Parameters
    ----------
    name : str
        As a user gave it.
    more : str
        More about the presets, for the message.

    Raises
    ------
    BivitError
        With the presets, and the one that is most like `name`.
    """
    from ...sim.network.presets import PRESETS

    presets = f"presets are {', '.join(PRESETS)}{', and ' if more else ''}{more}{near(name, PRESETS)}"
    path = Path(name)
    check(not path.is_dir(), f"{name} is a folder; give the network file in it, or a preset: {presets}")
    if path.suffix or path.parent.name:
        check(path.is_file(), f"there is no network file {name}; `bivit export` writes one, and {presets}")
    check(path.is_file(), f"there is no preset and no file {name!r}; {presets}")


def find_engine(
    engine: str | None, net: Net | None, target: Device | None = None, *, default: str | None = None
) -> tuple[str, FlowConfig]:
    """Return the name and the configuration of an engine: the one that is named, else one for a network.

    Parameters
    ----------
    engine : str or None
        A name, a JSON file, or a folder with `engine.json`.
    net : Net or None
        What it is to hold.
    target : Device, optional
        What it is to fit; where none does, a line says by how much. The engine is written in the logic that suits it,
        unless its file says another.
    default : str, optional
        Which is taken where none is named, in place of `suited_engine`; without a network either, that is ``sim``.

    Raises
    ------
    BivitError
        When there is no such engine, it does not hold the network, or none is named and none holds the network.
    """
    from ...sim.estimate.choice import suited_engine
    from ...sim.flow.presets import fabric_for, load_engine
    from ...sim.mapping.compiled import check_runs

    name = engine or default or (_DEFAULT if net is None else None)
    try:
        if name is None:
            assert net is not None
            choice = suited_engine(net.config, net.formats, target)
            name = choice.name
            if choice.warning:
                say(choice.warning)
        found = load_engine(name)
        if net is not None:
            check_runs(net.config, net.formats, found)
    except BivitError as error:
        raise error if net is None or engine else BivitError(f"{net.name}: {error}") from error
    if target is None:
        return name, found
    suited = fabric_for(found, name, target.fabric)
    if suited.engine.fabric != target.fabric:
        logic = suited.engine.fabric
        say(f"{name} is written in {logic}; {target.fabric} suits {target.part} better: set it in the file")
    return name, suited
