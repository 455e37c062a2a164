"""The errors a user can cause; the command line turns them into one message and exit code 2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Characters that would act on a terminal, as they are written in Python; names from outside files may hold them.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


class BivitError(ValueError):
    """Bad input: the message says what was wrong, what is allowed, what was got and what to do.

    Parameters
    ----------
    message : str
        May hold text of outside files: control characters are shown, not sent.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.translate(_CONTROL))


def check(condition: bool, message: str) -> None:
    """Raise `BivitError` with `message` unless `condition` holds."""
    if not condition:
        raise BivitError(message)


def some(names: Sequence[str], most: int = 8) -> str:
    """Return names for a message, with commas between them: the first of many, and how many more there are.

    Examples
    --------
    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def near(name: str, known: Iterable[str]) -> str:
    """Return a question for a message about an unknown name: the known one that is most like it; empty when none is.

    Examples
    --------
    >>> near("Diet_tiny", ["deit_tiny", "swin_tiny"])
    '; did you mean deit_tiny?'
    """
    import difflib

    plain = name.strip().lower().replace("-", "_")
    spelled = {one.lower().replace("-", "_"): one for one in known}
    begun = [one for one in spelled if len(plain) > 1 and one.startswith(plain)]
    found = begun or difflib.get_close_matches(plain, spelled, 1)
    return f"; did you mean {spelled[found[0]]}?" if found else ""
