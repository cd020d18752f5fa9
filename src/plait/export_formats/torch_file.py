"""A form as a file of `torch.export`, which Python and C++ load without Plait."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from plait.export_formats.form import Form

METADATA = "metadata.json"
"""The file within the file that holds the metadata."""


def torch_file(form: Form) -> tuple[bytes, float]:
    """Return the content of a file, and by how much its outputs differ from the model's.

    `torch.export.load(path, extra_files={"metadata.json": ""})` fills in the metadata, as JSON.

    Raises
    ------
    InputError
        For what torch cannot export, and where the loaded program computes something else.
    """
    buffer, text = io.BytesIO(), json.dumps(dict(form.metadata), ensure_ascii=False)
    torch.export.save(form.trace(), buffer, extra_files={METADATA: text})
    buffer.seek(0)
    program = torch.export.load(buffer).module()

    def run(given: Mapping[str, np.ndarray]) -> list[Any]:
        with torch.no_grad():
            found = program(*(torch.from_numpy(x) for x in given.values()))
        found = (found,) if isinstance(found, torch.Tensor) else found
        return [y.numpy() for y in found]

    return buffer.getvalue(), form.compare(run, "the loaded program")
