"""The host of a board: loads a network and classifies images over a serial port, by a protocol that repairs the line.

What is public stands here; a name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from ..sim.lazy import lazy

if TYPE_CHECKING:
    from .engine import BoardInfo, Engine
    from .folder import Folder, read_folder
else:
    __getattr__, __dir__ = lazy(__name__)

__all__ = ["BoardInfo", "Engine", "Folder", "read_folder"]
