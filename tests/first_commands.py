"""A user's first commands with an installed Plait without extras: `make package` runs this file."""

import subprocess
import sys
import tempfile
from importlib.metadata import files, metadata
from pathlib import Path

PLAIT = Path(sys.executable).with_name("plait")


def plait(*words: str) -> str:
    """Run the command line; anything on standard error, a warning say, is a failure."""
    done = subprocess.run([PLAIT, *words], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return done.stdout


def main() -> None:
    """Train and generate, resume, and a cell of one's own with its gradient."""
    shipped = {Path(str(file)).name for file in files("plait") or []}
    assert {"LICENSE", "py.typed"} <= shipped, "licence or type marker missing"
    with tempfile.TemporaryDirectory() as folder:
        text, run = Path(folder, "text.txt"), str(Path(folder, "run"))
        text.write_text("She sells sea shells by the sea shore. " * 500, encoding="utf-8")
        plait("train", "text", "--data", str(text), "--steps", "20", "--out", run)
        assert plait("generate", run, "--prompt", "She", "--length", "40").startswith("She")
        assert "plait" in plait("--version") or metadata("plait")["Version"] in plait("--version")

    import torch

    import plait as library

    class Leaky(library.Cell):
        gates = "n"
        states = ("h",)

        def step(self, x_gates, recurrent, state, vectors):
            (h,) = state
            return (0.9 * h + 0.1 * torch.tanh(x_gates + recurrent(h)),)

    layer = library.Recurrent(Leaky(), 3, 8, operator=library.GCN())
    ring = library.Graph([[0, 1, 2], [1, 2, 0]]).to_undirected()
    y, _ = layer(torch.randn(5, 2, 3, 3), graph=ring)
    y.sum().backward()
    print(layer.explain(ring))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


if __name__ == "__main__":
    main()
