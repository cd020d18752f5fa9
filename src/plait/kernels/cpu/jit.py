"""Compiling kernels, and running them on several threads.

A compiled kernel releases the GIL and starts no threads: blocks of work are handed out to
threads from outside, and nothing depends on how many there are. The threads are torch's own where
it has GNU OpenMP's: those wait for work by spinning, for milliseconds, and take a core from any
others that would run meanwhile. A child after `fork()` does not have them and must not ask for
them; there, and elsewhere, the threads are a pool of ours.
"""

import ctypes
import hashlib
import linecache
import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pooch
import torch
from numba import cfunc, njit, types

from plait.kernels.cpu import disk


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep it on the disk where a folder can be written to."""
    return disk.kept(njit(nogil=True, error_model="numpy")(function))


def phases(function: Callable[..., Any]) -> int:
    """Compile a step's phases, and return the address to call them by."""
    return address_compiled(function, 4)


def address_compiled(function: Callable[..., Any], count: int) -> int:
    """Compile a function of so many whole numbers, and return the address to call it by.

    It is kept on the disk like others, where its module is a file.
    """
    arguments = (types.intp,) * count
    made: Any = disk.kept_callback(function, arguments, {"error_model": "numpy"})
    if made is None:
        made = cfunc(types.void(*arguments), error_model="numpy")(function)
    _held.append(made)
    return int(made.address or 0)


def module_of(source: str) -> ModuleType:
    """Import source, kept on the disk by its content where a folder can be written to.

    It is compiled anew whenever the source of the kernels here changes.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:32]
    if digest not in _modules:
        _modules[digest] = _import(source, digest)
    return _modules[digest]


def source_folder() -> Path:
    """Return the folder of generated source: `$PLAIT_KERNELS`, or one in the user's cache."""
    return Path(os.environ.get("PLAIT_KERNELS") or pooch.os_cache("plait") / "kernels")


def _import(source: str, digest: str) -> ModuleType:
    name, path = f"plait_kernel_{digest}", source_folder() / f"{digest}.py"
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != source:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            aside.write_text(source, encoding="utf-8")
            aside.replace(path)
        place = str(path)
    except OSError:
        place = f"<{name}>"  # in memory alone
    module = ModuleType(name)
    module.__file__ = place
    sys.modules[name] = module  # compiled code on the disk looks its module up by name
    linecache.cache[place] = (len(source), None, source.splitlines(True), place)
    exec(compile(source, place, "exec"), module.__dict__)
    return module


def native(address: int) -> Any:
    """Return the compiled function of one address that lies there, to be called by Python."""
    return _PART(address)


def on_threads(call: Any, address: int, threads: int) -> None:
    """Call a compiled function with an address on so many threads at once."""
    if threads <= 1:
        call(address)
    elif _openmp is not None and os.getpid() == _home:
        _openmp.GOMP_parallel(call, ctypes.c_void_p(address), threads, 0)
    else:
        jobs = [_pool().submit(call, address) for _ in range(threads - 1)]
        call(address)
        wait(jobs)


def on_one_thread() -> None:
    """Have this thread compute alone from now on, whatever it calls; others keep their number."""
    torch.get_num_threads()  # which gives a new thread torch's number
    if _openmp is not None:
        _openmp.omp_set_num_threads(1)


def parallel_for(call: Callable[[int], None], blocks: Sequence[int]) -> None:
    """Call with every number, on as many threads as torch has."""
    threads = min(torch.get_num_threads(), len(blocks))
    if threads <= 1:
        for block in blocks:
            call(block)
        return
    left, errors = list(reversed(blocks)), []

    def work(_: int | None = None) -> None:
        try:
            while left:
                try:
                    block = left.pop()
                except IndexError:  # another thread took the last one
                    return
                call(block)
        except BaseException as error:  # Ctrl-C too: it is raised below, in the thread that called
            errors.append(error)
            left.clear()

    if _openmp is not None and os.getpid() == _home:
        _openmp.GOMP_parallel(_PART(work), None, threads, 0)
    else:
        jobs = [_pool().submit(work) for _ in range(threads - 1)]
        work()
        wait(jobs)
    if errors:
        raise errors[0]


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that is contiguous, with its lazy negation carried out.

    Compiled code reads addresses: ValueError for what is not float32 on a CPU.
    """
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise ValueError(
            f"compiled loops take torch.float32 on cpu, not {tensor.dtype} on {tensor.device}; "
            "convert all weights, inputs and states with .to()"
        )
    return tensor.resolve_neg().contiguous() if tensor.is_neg() else tensor.contiguous()


def empty_f32(*shape: int) -> torch.Tensor:
    """Make an uninitialised float32 tensor that begins at a cache line.

    For the largest NumPy asks the system for large pages, torch does not: their numbers are written
    once, and with small pages that costs as much as the rest.
    """
    count = math.prod(shape)
    if count < _LARGE:
        return torch.empty(shape)
    numbers = np.empty(count + 16, np.float32)
    first = -numbers.ctypes.data % 64 // 4
    return torch.from_numpy(numbers[first : first + count]).view(shape)


def _torch_openmp() -> ctypes.CDLL | None:
    """Find the OpenMP that torch brings along, if it is GNU's."""
    for path in Path(torch.__file__).parent.glob("lib/libgomp*.so*"):
        return ctypes.CDLL(str(path))
    return None


_PART = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_openmp, _home = _torch_openmp(), os.getpid()
_pools: dict[int, ThreadPoolExecutor] = {}
_modules: dict[str, ModuleType] = {}
_LARGE = 2**23 - 2**14  # numbers of float32
np.empty(_LARGE, np.float32)  # freed at once: from here on the C library keeps what is freed of up
# to this size, in place of handing it back to the system and getting it anew, page by page
_held: list[Any] = []  # their code must stay where it is


def _pool() -> ThreadPoolExecutor:
    """Return this process's threads; those of a parent are not in its child."""
    process = os.getpid()
    if process not in _pools:
        _pools[process] = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="plait")
    return _pools[process]
