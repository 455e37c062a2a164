"""The ports of a module, read from Verilog as this package writes it."""

from __future__ import annotations

import re

from ..sim.errors import BivitError


def ports_of(verilog: str, module: str) -> dict[str, tuple[str, int]]:
    """Return the ports of a module of generated Verilog: ``input`` or ``output``, and bits, by name.

    Raises
    ------
    BivitError
        When the text has no such module.
    """
    body = re.search(rf"^module {module} ?\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    if body is None:
        raise BivitError(f"the Verilog has no module {module}; generate it with `bivit generate`")
    # In the module's head, or in its body.
    port = r"^\s*(input|output) (?:wire |reg )?(?:\[(\d+):0\] )?(\w+)(?: = [^,;\n]*)?[,;]?$"
    declared = re.findall(port, body[0], re.MULTILINE)
    return {name: (direction, int(top or 0) + 1) for direction, top, name in declared}
