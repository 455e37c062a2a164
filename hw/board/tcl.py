"""Runs a script for another program in a Tcl interpreter of its own, whose commands are stand-ins that record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...sim.errors import BivitError

#: What a command gets: its options by name, and what else stands behind it.
Handler = Callable[[dict[str, str], list[str]], str | None]


@dataclass(frozen=True)
class Command:
    """A stand-in.

    Parameters
    ----------
    handler : callable
        What it does; its result is the command's.
    options : tuple of str
        Those that take a value, without the dash.
    flags : tuple of str
        Those without.
    """

    handler: Handler
    options: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def call(self, name: str, words: Sequence[str]) -> str:
        """Do it; raises BivitError for an option that it does not have."""
        found, rest, left = dict[str, str](), list[str](), list(words)
        while left:
            word = left.pop(0)
            option = word[1:]
            if word.startswith("-") and option in self.flags:
                found[option] = "1"
            elif word.startswith("-") and option in self.options and left:
                found[option] = left.pop(0)
            elif word.startswith("-") and option[:1].isalpha():
                raise BivitError(f"{name} has no option {word}, or it lacks its value")
            else:
                rest.append(word)
        return self.handler(found, rest) or ""


def has_tcl() -> bool:
    """Whether this Python has a Tcl interpreter: it comes with tkinter, which some systems leave out."""
    try:
        import tkinter  # noqa: F401
    except ImportError:
        return False
    return True


class Interpreter:
    """A Tcl interpreter with stand-ins; what is neither theirs nor Tcl's own is an error.

    Parameters
    ----------
    commands : mapping of str to Command
    """

    def __init__(self, commands: Mapping[str, Command]):
        import tkinter

        self._tcl: Any = tkinter.Tcl()
        self._wrong: BaseException | None = None
        # A script that ends the interpreter would end this process; one that runs programs is none of ours.
        for name in ("exit", "exec", "open", "socket", "load"):
            self._tcl.eval(f"catch {{rename {name} {{}}}}")
        self._tcl.eval("proc puts {args} {}")
        for name, command in commands.items():
            if "::" in name:
                self._tcl.eval(f"namespace eval {name.rpartition('::')[0]} {{}}")
            self._tcl.createcommand(name, self._guarded(name, command))

    def run(self, path: str) -> None:
        """Run a script.

        Parameters
        ----------
        path : str

        Raises
        ------
        BivitError
            When a command is unknown, is used wrongly, or the script says that something is wrong.
        """
        import tkinter

        self._tcl.setvar("argv", "")
        try:
            self._tcl.call("source", path)
        except tkinter.TclError as error:
            raise BivitError(f"{path}: {self._wrong or error}") from self._wrong or error

    def words(self, text: str) -> list[str]:
        """Return the words of a Tcl list."""
        return [str(word) for word in self._tcl.splitlist(text)]

    def _guarded(self, name: str, command: Command) -> Callable[..., str]:
        def call(*words: str) -> str:
            try:
                return command.call(name, [str(word) for word in words])
            except BaseException as error:
                self._wrong = error
                raise

        return call
