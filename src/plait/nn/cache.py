"""`Cache`: results computed from an object and stored with it, in this process only."""

from typing import Any


class Cache(dict[Any, Any]):
    """A dict that becomes empty when copied, pickled or sent to another process.

    Its values may hold raw addresses and tensors that cannot be copied; a copy computes its own.

    Example
    -------
    >>> import copy
    >>> from plait.nn.cache import Cache
    >>> kept = Cache(address=1)
    >>> copy.copy(kept), copy.deepcopy(kept), kept
    ({}, {}, {'address': 1})
    """

    def __reduce__(self) -> tuple[type["Cache"], tuple[()]]:
        """Make `copy` and `pickle` create an empty one."""
        return Cache, ()
