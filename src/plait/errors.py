"""`InputError`: what the user gave cannot be used; the message says why, and the fix."""


class InputError(ValueError):
    """A mistake in what the user gave; the message is one line: what is wrong, where, and the fix.

    The command line prints it and exits with code 2; from Python it is an ordinary `ValueError`.
    """
