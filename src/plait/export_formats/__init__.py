"""What a model is as a program without Plait, and the files that hold one: ONNX and torch's own."""

from plait.export_formats.form import Form

__all__ = ["Form"]
