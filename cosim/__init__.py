"""Co-simulation: the Verilog runs whole images, and every tensor is compared with the reference.

What is public stands here; a name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from ..sim.lazy import lazy

if TYPE_CHECKING:
    from .bench import Stalls
    from .compare import Mismatch
    from .run import CosimResult, run_cosim
else:
    __getattr__, __dir__ = lazy(__name__)

__all__ = ["CosimResult", "Mismatch", "Stalls", "run_cosim"]
