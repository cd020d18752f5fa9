"""Writing so that an interrupt at any moment leaves the old file or the new one, whole."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plait.errors import InputError


def write_aside(path: Path, content: bytes) -> None:
    """Write a file next to `path`, flush it to the disk, and rename it to `path`.

    Raises `InputError` where a folder, a device or a pipe is in its place.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file, so it cannot be overwritten; give another")
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file it is about
        raise
    _flush_folder(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file by `write_aside`."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_aside(path, (text + "\n").encode())


def _flush_folder(folder: Path) -> None:
    """Make a rename in this folder last through a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
