"""What an engine holds from its configuration on, without a load stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...sim.engine.loadstream import Sections
from ...sim.engine.target import Target
from ...sim.engine.words import LoadMemory


@dataclass(frozen=True)
class Contents:
    """The words of a network in the bank that is read after reset.

    Amaranth hands a platform to every unit when it is elaborated; these words belong to the device in the same way, so
    no unit needs to know that a memory within it begins with some.

    Parameters
    ----------
    words : mapping
        For each memory's id, words by the address of the first.
    """

    words: Mapping[int, Mapping[int, Sequence[int]]]

    @classmethod
    def of(cls, engine: Target, sections: Sections) -> Contents:
        """Return the contents that a load stream of `sections` would bring."""
        return cls({engine.load_memories[name].id: runs for name, runs in sections.items()})


def contents_of(platform: object) -> Contents | None:
    """Return the contents that the platform is, or that are converted with it (`component.Conversion`), if any."""
    contents = getattr(platform, "contents", platform)
    return contents if isinstance(contents, Contents) else None


def first_words(platform: object, memory: LoadMemory) -> list[int]:
    """Return what a loadable memory's first bank begins with: its words from 0 on, none without `Contents`.

    Parameters
    ----------
    platform : object
        As a unit's `elaborate` is given it.
    memory : LoadMemory
        Which memory.
    """
    contents = contents_of(platform)
    runs = contents.words.get(memory.id, {}) if contents else {}
    words = [0] * max((first + len(run) for first, run in runs.items()), default=0)
    for first, run in runs.items():
        words[first : first + len(run)] = run
    return words
