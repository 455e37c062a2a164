"""The accelerator in Amaranth: its units, its top level, and the Verilog of it with all that belongs beside.

What is public stands here; a name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from ..sim.lazy import lazy

if TYPE_CHECKING:
    from .emit import flow_verilog
    from .flow_engine import FlowEngine
    from .folder.generate import Generated, generate
else:
    __getattr__, __dir__ = lazy(__name__)

__all__ = ["FlowEngine", "Generated", "flow_verilog", "generate"]
