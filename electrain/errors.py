"""The one exception that a user is meant to see."""


class UserError(Exception):
    """Bad input: one line that says what is wrong, where, and how to mend it.

    The command line prints the message and leaves with exit code 2; nothing already on disk is touched.
    """
