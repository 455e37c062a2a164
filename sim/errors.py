"""The errors a user can cause; the command line turns them into one message and exit code 2."""

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
