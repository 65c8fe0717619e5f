"""The exceptions that the command line answers for."""

import signal


class UserError(Exception):
    """Bad input: one line that says what is wrong, where, and how to mend it.

    The command line prints the message and leaves with exit code 2; nothing already on disk is touched.
    """


class Elsewhere(Exception):
    """Another process of the run met an error and says so; this one ends with it, silently."""


class Stopped(Exception):
    """A signal asked a run to end, and it saved what it had; `number` is the signal's."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def reason(error: BaseException) -> str:
    """The first line of what another library raised, or its kind where it says nothing: for a message in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".")
