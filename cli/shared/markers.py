"""Parts of pages that are written by code: what stands between two lines of a page is made anew."""

from __future__ import annotations

from ...sim.errors import check


def markers(name: str) -> tuple[str, str]:
    """Return the lines between which a part stands.

    Parameters
    ----------
    name : str
        Of the part.
    """
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def replace_between_markers(text: str, part: str, name: str = "results", what: str = "table") -> str:
    """Put a part between a page's markers.

    Parameters
    ----------
    text, part : str
        The page, and what is put there.
    name : str
        As of `markers`.
    what : str
        What the part is, for the message.

    Raises
    ------
    BivitError
        When a marker is missing.

    Examples
    --------
    >>> begin, end = markers("results")
    >>> replace_between_markers(f"a\\n{begin}\\nold\\n{end}\\nb", "new").splitlines()[2]
    'new'
    """
    first, last = markers(name)
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    check(bool(begin and end), f"the page needs the lines {first} and {last}, with the {what} between them")
    return f"{before}{first}\n{part}\n{last}{after}"
