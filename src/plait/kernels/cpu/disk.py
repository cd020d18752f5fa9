"""Compiled code on the disk, a file for each signature, named for all that it was made from.

numba keeps an index of numbered files, found by a function's own source. But a kernel is made of
several functions; and two processes that compile at once may give one number to two signatures, so
that either would run the other's code.

numba has no public way to keep code otherwise. So this module, and no other, uses names that are
not public. Where a version of numba lacks one of them, nothing is kept: every process compiles
anew, and `explain()` says so.
"""

import contextlib
import hashlib
import logging
import os
import pickle
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba
from numba import njit, types

from plait.kernels.cpu.simd import LANES

_SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))
    + bytes([LANES])
    + f"{numba.__version__} {llvmlite.__version__}".encode()
).hexdigest()


class _Internals(NamedTuple):
    """What is used of numba that is not public: a function's cache, and callbacks for C."""

    cache: Any
    callback: Any


def note() -> str:
    """Return what `explain()` adds where this numba keeps no code for us, else nothing."""
    internals = _internals()
    return f"; compiled anew in every process: {internals}" if isinstance(internals, str) else ""


def kept(kernel: Any) -> Any:
    """Return a compiled function that is kept on the disk, where a folder can be written to."""
    internals = _internals()
    if not isinstance(internals, str):
        _keep(kernel, kernel.py_func, internals)
    return kernel


def kept_callback(
    function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]
) -> Any:
    """Compile a function to be called by its address, and keep it; None where it cannot be kept."""
    internals = _internals()
    if isinstance(internals, str) or not Path(function.__code__.co_filename).exists():
        return None
    made = internals.callback(function, (tuple(arguments), types.void), {}, options)
    _keep(made, function, internals)
    made.compile()
    return made


def _keep(compiled: Any, function: Callable[..., Any], internals: _Internals) -> None:
    with contextlib.suppress(RuntimeError):  # neither next to the source nor in the user's cache
        compiled._cache = internals.cache(function)


@cache
def _internals() -> _Internals | str:
    """Return what this numba has of that, tried once, or in words what it lacks."""
    try:
        from numba.core.caching import FunctionCache
        from numba.core.ccallback import CFunc
        from numba.core.serialize import dumps

        class Cache(FunctionCache):
            def __init__(self, function: Callable[..., Any]) -> None:
                super().__init__(function)
                base = self._impl.filename_base
                self._cache_file: Any = _Files(Path(self.cache_path), base, dumps)

            def load_overload(self, *arguments: Any) -> Any:
                with contextlib.suppress(Exception):  # whatever it is, compiling anew is right
                    return super().load_overload(*arguments)

            def save_overload(self, *arguments: Any) -> None:
                with contextlib.suppress(AttributeError, TypeError, LookupError):
                    super().save_overload(*arguments)

        made: tuple[Any, Any] = njit(_nothing), CFunc(_nothing, ((), types.void), {}, {})
        for one in made:
            _ = one._cache
        _keep(made[0], _nothing, _Internals(Cache, CFunc))
    except Exception as error:
        reason = str(error).partition(" (")[0]  # without the place of the file
        return f"numba {numba.__version__} keeps code in another way: {reason}"
    return _Internals(Cache, CFunc)


def _nothing() -> None:
    return


class _Files:
    """What numba's cache of one function reads from and writes to."""

    def __init__(self, folder: Path, name: str, dumps: Callable[[Any], bytes]) -> None:
        self.folder, self.name, self.dumps = folder, name, dumps

    def save(self, key: Any, data: Any) -> None:
        """Keep the code of a signature; without room for it, it is compiled again next time."""
        path = self._file_of(key)
        aside = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        try:
            aside.write_bytes(self.dumps(data))
            aside.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            return
        for file in self.folder.glob(f"{self.name}.*.nbc"):
            if not file.name.startswith(f"{self.name}.{_SOURCES[:16]}"):
                with contextlib.suppress(OSError):
                    file.unlink()  # of sources that are no longer these

    def load(self, key: Any) -> Any:
        """Return the code of a signature, or None where there is none that can be read."""
        try:
            code = pickle.loads(self._file_of(key).read_bytes())
        except Exception:  # however it is damaged, it is compiled again
            code = None
        if code is None:
            _announce()
        return code

    def _file_of(self, key: Any) -> Path:
        made_from = hashlib.sha256(repr(key).encode()).hexdigest()
        return self.folder / f"{self.name}.{_SOURCES[:16]}-{made_from[:32]}.nbc"


@cache
def _announce() -> None:
    """Log once that the next call takes seconds."""
    logging.getLogger(__name__).info("compiling kernels, once for this machine")
