"""A form as an ONNX file, checked in ONNX Runtime."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from plait.errors import InputError
from plait.export_formats.form import Form, quiet

LARGEST = 2**31 - 1
"""Bytes of a protocol buffer."""


def onnx_file(form: Form, about: Mapping[str, Any]) -> tuple[bytes, float]:
    """Return the content of a file, and by how much its outputs differ from the model's.

    Each value of the metadata, with what `about` adds, is JSON under its own name in
    `metadata_props`.

    Raises
    ------
    InputError
        Without the packages, for what ONNX cannot express, and where ONNX Runtime computes
        something else.
    """
    onnxruntime = require_onnx()
    program = form.trace()
    with quiet(), torch.no_grad():
        try:
            found: Any = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=list(form.inputs),
                output_names=list(form.outputs),
            )  # fmt: skip
            model = found.model_proto
        except Exception as error:  # whatever torch says of an operation that ONNX lacks
            reason = _reason(error)
            raise InputError(
                f"ONNX cannot express this model: {reason}; try --format torch"
            ) from error
    _name_sizes(model.graph, form)
    _forget_places(model.graph)
    for name, value in {**about, **form.metadata}.items():
        model.metadata_props.add(key=name, value=json.dumps(value, ensure_ascii=False))
    if model.ByteSize() > LARGEST:
        raise InputError("an ONNX file holds at most 2 GB, and this model more; --format torch")
    content = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    taken = {one.name for one in session.get_inputs()}

    def run(given: Mapping[str, np.ndarray]) -> list[Any]:
        return session.run(
            list(form.outputs), {name: x for name, x in given.items() if name in taken}
        )

    return content, form.compare(run, "ONNX Runtime")


def require_onnx() -> Any:
    """Return ONNX Runtime, or refuse, with `InputError`, where a package is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"ONNX needs the package {error.name}: pip install 'plait[export]'; or give --format "
            "torch"
        ) from None
    return onnxruntime


def _forget_places(graph: Any) -> None:
    """Drop what torch notes of the code that each node came from: files of this machine."""
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_places(attribute.g)
    del graph.value_info[:]  # sizes within, by torch's names of them


def _name_sizes(graph: Any, form: Form) -> None:
    """Name the free axes of inputs and outputs."""
    names: dict[str, str] = {}
    for value in graph.input:
        for axis, name in form.free.get(value.name, {}).items():
            dim = value.type.tensor_type.shape.dim[axis]
            names[dim.dim_param], dim.dim_param = name, name
    for value in graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = names.get(dim.dim_param, dim.dim_param)


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
