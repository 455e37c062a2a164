"""What is told of an imported model beside its tensors, by options or by files, and where each setting is from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...sim.errors import check
from ...sim.network.config import LARGEST
from ...sim.system.typed import shown
from .outside_fields import Facts


@dataclass(frozen=True)
class ImportOptions:
    """What a file does not say; None takes it from the tensors, a file beside them, or a default.

    Raises
    ------
    BivitError
        When a value is of another type or range; the message names the option.
    """

    image_size: int | None = None
    num_heads: int | None = None
    eps: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    #: Which model of a file that holds several.
    weights: str | None = None
    #: Patterns of names of tensors that are no part of the model.
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, option in (("image_size", "--image-size"), ("num_heads", "--heads")):
            value = getattr(self, name)
            right = value is None or (type(value) is int and 0 < value <= LARGEST["img_size"])
            check(right, f"{option} must be an integer of 1 to {LARGEST['img_size']}, got {shown(value)}")
        right = self.eps is None or (type(self.eps) in (int, float) and 0 < self.eps <= 1)
        check(right, f"--eps must be above 0, and at most 1, got {shown(self.eps)}")
        for option, numbers in (("--mean", self.mean), ("--std", self.std)):
            check_pixel_numbers(option, numbers or (0.5,))


def check_pixel_numbers(what: str, numbers: tuple[float, ...]) -> None:
    """Refuse means and deviations that are not of pixels from 0 to 1.

    Raises
    ------
    BivitError
        Naming `what`.
    """
    low = "above 0" if what.endswith("std") else "0"
    right = all(0 <= number <= 1 for number in numbers) and (low == "0" or min(numbers) > 0)
    check(
        right,
        f"{what} must be {low} to 1 in each channel, of pixels from 0 to 1, got {shown(list(numbers))}; divide numbers "
        "of pixels from 0 to 255 by 255",
    )


@dataclass
class Told:
    """Settings of a model that is imported, and where each came from: a file and key, an option, or a default."""

    facts: Facts
    options: ImportOptions
    #: Name, value, source.
    settings: list[dict[str, Any]] = field(default_factory=list)

    def note(self, name: str, value: Any, source: str) -> Any:
        """Note a setting, and return its value."""
        self.settings.append({"setting": name, "value": value, "source": source})
        return value

    def choose(self, name: str, option: str, given: Any, tensors: Any = None) -> Any:
        """Return what the tensors, else an option, else a file say; None where nobody does.

        Parameters
        ----------
        name : str
            Of a fact.
        option : str
            How the option is called.
        given : any
            Its value, or None.
        tensors : any
            What the tensors tell, or None.
        """
        fact = self.facts.get(name) if given is None else None
        if tensors is not None:
            for value, source in ((given, option), *([(fact.value, fact.source)] if fact and not fact.rank else [])):
                check(
                    value is None or value == tensors,
                    f"the tensors tell {name} {shown(tensors)}, got {shown(value)} from {source}; leave it out, or "
                    "take the file that belongs to these weights",
                )
            return self.note(name, tensors, "the tensors")
        if given is not None:
            return self.note(name, given, option)
        return None if fact is None else self.note(name, fact.value, fact.source)
