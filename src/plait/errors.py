"""`InputError`: what the user gave cannot be used; the message says why, and the fix."""

import re


class InputError(ValueError):
    r"""A mistake in what the user gave; the message is one line: what is wrong, where,
    and the fix.

    The command line prints it and exits with code 2; from Python it is an ordinary `ValueError`.
    Names that users give may hold line breaks, which become spaces.

    >>> from plait.errors import InputError
    >>> str(InputError("there is no node a\nb; name another"))
    'there is no node a b; name another'
    """

    def __init__(self, message: str) -> None:
        super().__init__(re.sub(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", message))
