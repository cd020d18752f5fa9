"""`Cache`: what was computed from an object and is kept with it, in this process alone."""

from typing import Any


class Cache(dict[Any, Any]):
    """A dict that copies, pickles and arrives in other processes empty.

    What is kept may hold raw addresses and tensors that cannot be copied; a copy computes its own.

    Example
    -------
    >>> import copy
    >>> from plait.nn.cache import Cache
    >>> kept = Cache(address=1)
    >>> copy.copy(kept), copy.deepcopy(kept), kept
    ({}, {}, {'address': 1})
    """

    def __reduce__(self) -> tuple[type["Cache"], tuple[()]]:
        """Tell `copy` and `pickle` to make an empty one."""
        return Cache, ()
