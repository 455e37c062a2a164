"""The errors a user can cause; the command line turns them into one message and exit code 2."""


class BivitError(ValueError):
    """Bad input: the message says what was wrong, what is allowed, what was got and what to do."""


def check(condition: bool, message: str) -> None:
    """Raise `BivitError` with `message` unless `condition` holds."""
    if not condition:
        raise BivitError(message)
