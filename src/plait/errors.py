"""The one error that means: what you gave cannot be used, and here is the mend."""


class InputError(ValueError):
    """A mistake in what the user gave; the message is one line: what, where, and the mend.

    The command line prints it and exits with code 2; from Python it is an ordinary `ValueError`.
    """
