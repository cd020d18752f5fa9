"""`plait serve`: the page of a trained run, on this machine.

Starlette and uvicorn with a page of our own, not Gradio: that page asks for nothing outside this
machine, runs under a content security policy without inline code, and its parts, texts with
probabilities and states under every character, are none of Gradio's.
"""

from plait.serve.launch import serve

__all__ = ["serve"]
