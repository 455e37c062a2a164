"""The templates of text files that are written beside Verilog: one way to fill them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .verilog_top import LICENCE

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(room: str) -> Environment:
    """Return the templates of a room; what is missing in one is an error.

    Parameters
    ----------
    room : str
        Dotted, with its package; it has a folder ``templates``.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader(room),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals["licence"] = LICENCE
    made.filters["hex"] = lambda value, digits=2: f"0x{value:0{digits}x}"
    return made
