"""A form as a file of `torch.export`, which Python and C++ load without Plait."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from plait.export_formats.form import Form, quiet

METADATA = "metadata.json"
"""The file within the file that holds the metadata."""


def torch_file(form: Form, about: Mapping[str, Any]) -> tuple[bytes, float]:
    """Return the content of a file, and by how much its outputs differ from the model's.

    `torch.export.load(path, extra_files=found)`, with `found = {"metadata.json": ""}`, fills in the
    metadata, with what `about` adds, as JSON.

    Raises
    ------
    InputError
        For what torch cannot export, and where the loaded program computes something else.
    """
    buffer, program = io.BytesIO(), form.trace()
    _forget_places(program)
    text = json.dumps({**about, **form.metadata}, ensure_ascii=False)
    with quiet():
        torch.export.save(program, buffer, extra_files={METADATA: text})
        buffer.seek(0)
        loaded = torch.export.load(buffer).module()

    def run(given: Mapping[str, np.ndarray]) -> list[Any]:
        with torch.no_grad():
            found = loaded(*(torch.from_numpy(x) for x in given.values()))
        found = (found,) if isinstance(found, torch.Tensor) else found
        return [y.numpy() for y in found]

    return buffer.getvalue(), form.compare(run, "the loaded program")


def _forget_places(program: torch.export.ExportedProgram) -> None:
    """Drop what torch notes of the code that each node came from: files of this machine."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for name in ("stack_trace", "source_fn_stack", "nn_module_stack", "from_node"):
                    node.meta.pop(name, None)
