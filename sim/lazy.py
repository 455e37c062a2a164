"""The public names of a package, imported when they are first used: importing the package itself costs nothing.

A package states them once, as imports that type checkers read and Python passes over:

    if TYPE_CHECKING:
        from .network.file import load_network
    else:
        __getattr__, __dir__ = lazy(__name__)

and `lazy` takes from that text which module has a name (PEP 562).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cache
from typing import Any


def lazy(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package for the names that it imports under `TYPE_CHECKING`.

    Parameters
    ----------
    package : str
        Its `__name__`.
    """

    @cache
    def homes() -> dict[str, str]:
        loader: Any = sys.modules[package].__loader__
        return public_homes(loader.get_source(package))

    def get(name: str) -> Any:
        # Python asks here for `__path__` and the like, and before it imports a module of the package.
        if name.startswith("_") or name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes()[name], package), name)
        setattr(sys.modules[package], name, value)  # found there from now on
        return value

    def names() -> list[str]:
        return sorted(homes())

    return get, names


def public_homes(source: str) -> dict[str, str]:
    """Return, for each name that the text of a package imports under `TYPE_CHECKING`, the module that has it.

    Parameters
    ----------
    source : str
        Text of an `__init__.py`.

    Returns
    -------
    dict
        Names and modules, relative to the package: "load_network" and ".network.file".
    """
    import ast  # milliseconds, which whoever only imports the package does not pay

    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    imports = [
        node
        for block in blocks
        if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    ]
    return {alias.name: "." * node.level + (node.module or "") for node in imports for alias in node.names}
