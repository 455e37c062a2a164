"""Objects of Verilator's own library: the same for every design, so compiled once, which is half of a small build."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..sim.system.files import whole_folder
from ..sim.system.kept_text import content_key
from ..sim.system.locks import locked
from .toolchain import Simulator, processor, verilator_make_variables

#: Its objects in the folder of a build; all others there are of the design, or compiled with its headers.
_OBJECTS = "verilated*.o"


@dataclass(frozen=True)
class RuntimeObjects:
    """Objects that are kept for all builds with the same arguments.

    Parameters
    ----------
    folder : Path
        Where they are, or will be.
    """

    folder: Path

    @classmethod
    def of(cls, found: Simulator, arguments: Sequence[str], cache: Path) -> RuntimeObjects:
        """Return those of a simulator.

        Parameters
        ----------
        found : Simulator
        arguments : sequence of str
            What Verilator is told, which writes it into the makefile.
        cache : Path
            Folder of built simulations.
        """
        depends = [str(found.executable), found.version, list(arguments), verilator_make_variables(), processor()]
        return cls(cache / f"runtime-{content_key(*depends)}")

    def take(self, objects: Path) -> None:
        """Put what is kept where a design was translated: newer than its makefile, so that make lets it be.

        Parameters
        ----------
        objects : Path
            Folder of the makefile.
        """
        for kept in self.folder.glob(_OBJECTS):
            shutil.copyfile(kept, objects / kept.name)

    def keep(self, objects: Path) -> None:
        """Keep what a build has made, if nothing is kept yet.

        Parameters
        ----------
        objects : Path
            Folder of the makefile.
        """
        with locked(self.folder.with_suffix(".lock")):
            if self.folder.is_dir():
                return
            with whole_folder(self.folder) as folder:
                for made in objects.glob(_OBJECTS):
                    shutil.copyfile(made, folder / made.name)
