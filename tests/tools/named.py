"""What modules, classes and attributes bivit has, read from its sources without importing them."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ("sim", "hw", "model", "cosim", "host", "cli")


class Named:
    """Names of a copy of bivit.

    Parameters
    ----------
    root : pathlib.Path
        Folder of the package.
    """

    def __init__(self, root: Path) -> None:
        #: Top-level names of each module: "sim.network.file" and what it defines or imports.
        self.modules: dict[str, set[str]] = {"": {"__version__"}}
        #: Attributes of each class, of all classes of a name, those of bases included.
        self._attributes: dict[str, set[str]] = defaultdict(set)
        self._bases: dict[str, set[str]] = defaultdict(set)
        for path in [path for folder in PACKAGES for path in sorted((root / folder).rglob("*.py"))]:
            parts = path.relative_to(root).with_suffix("").parts
            tree = ast.parse(path.read_text(encoding="utf-8"))
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.modules[name] = set(_bound(tree.body))
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    self._add_class(node)
        for name in list(self.modules):
            if name:
                room, _, stem = name.rpartition(".")
                self.modules[room].add(stem)
        #: Modules by the last part of their name.
        self.stems: dict[str, list[str]] = defaultdict(list)
        for name in self.modules:
            self.stems[name.rpartition(".")[2]].append(name)

    def _add_class(self, node: ast.ClassDef) -> None:
        own = self._attributes[node.name]
        own.update(_bound(node.body))
        for one in ast.walk(node):
            if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
                own.add(one.attr)
        self._bases[node.name] |= {ast.unparse(base).rpartition(".")[2].partition("[")[0] for base in node.bases}

    def is_class(self, name: str) -> bool:
        """Whether there is a class of this name, in any module."""
        return name in self._attributes

    def class_has(self, name: str, attribute: str) -> bool:
        """Whether a class of this name has an attribute; one with a base from elsewhere may have any."""
        if not self.is_class(name):
            return name not in ("object", "NamedTuple", "Protocol", "IntEnum", "Enum", "ValueError", "RuntimeError")
        # A base of the same name is another library's.
        bases = self._bases[name]
        return attribute in self._attributes[name] or any(
            one == name or self.class_has(one, attribute) for one in bases
        )

    def has(self, name: str) -> bool:
        """Whether a dotted name without `bivit.` is a module, something in one, or an attribute of a class there."""
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            module = ".".join(parts[:length])
            if module in self.modules:
                return self._module_has(module, parts[length:])
        return name in self.modules[""]

    def short_has(self, name: str) -> bool | None:
        """As `has` for a name that begins with a module's last part or a class; None when it begins with neither."""
        first, *rest = name.split(".")
        if self.is_class(first):
            return self.class_has(first, rest[0])
        places = self.stems.get(first)
        return None if not places else any(self._module_has(place, rest) for place in places)

    def _module_has(self, module: str, rest: list[str]) -> bool:
        if not rest:
            return True
        if rest[0] not in self.modules[module]:
            return False
        return len(rest) == 1 or not self.is_class(rest[0]) or self.class_has(rest[0], rest[1])


def _bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Names that statements bind, also below `if`, `try` and `with`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        else:
            targets = [one for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
            yield from (one.id for one in targets)
            for field in ("body", "orelse", "finalbody"):
                yield from _bound(getattr(node, field, []))
