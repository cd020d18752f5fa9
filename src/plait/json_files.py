"""JSON that users give and run folders hold: read in one way, whatever the file is."""

import json
from pathlib import Path
from typing import Any

from plait.errors import InputError
from plait.text_files import read_content

MEMORY = 16.0
"""Bytes of memory that a byte of JSON may take as Python's objects."""


def read_json(path: Path, problem: str = "is not JSON") -> Any:
    r"""Read a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Parameters
    ----------
    path : Path
    problem : str
        What a file is that cannot be parsed; of one that Plait wrote: "is damaged".

    Returns
    -------
    dict, list, str, int, float, bool or None

    Raises
    ------
    InputError
        For a file that cannot be read, is larger than this machine's memory, or is not JSON; the
        message names the file, and where it can the line and the column.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.json_files import read_json
    >>> path = Path(tempfile.mkdtemp()) / "sizes.json"
    >>> _ = path.write_text('\ufeff{"hidden": [8, 16]}', "utf-8")
    >>> read_json(path)
    {'hidden': [8, 16]}
    """
    return parse_json(read_content(path, MEMORY), str(path), problem)


def parse_json(content: bytes | str, name: str, problem: str = "is not JSON") -> Any:
    """Parse JSON; `InputError`, beginning with `name` and the `problem`, where it is none."""
    try:
        text = content
        if isinstance(content, bytes):
            text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
        return json.loads(text)
    except RecursionError:
        what = "it is nested too deep to be read; flatten it"
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        what = f"byte {error.start} is 0x{byte:02x}, which is not {error.encoding}"
    except json.JSONDecodeError as error:
        what = f"{error.msg}, line {error.lineno}, column {error.colno}"
    except ValueError:
        what = "it holds a whole number of thousands of digits; write it as 1e99"
    raise InputError(f"{name} {problem}: {what}")
