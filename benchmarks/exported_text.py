"""Characters a second that ONNX Runtime writes from an exported run, next to `plait generate`.

    python benchmarks/exported_text.py [RUN] [--length 2000]

Without a run it trains one for some steps, of the task's default sizes. Both draw from the same
random numbers, and the texts must be equal. Times are of one thread, of its processor time.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import plait


def write(path: Path, prompt: str, length: int, seed: int) -> str:
    """Write a text as docs/howto/export.md does."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    facts = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    number = {symbol: k for k, symbol in enumerate(facts["vocabulary"])}
    state = {k: np.zeros((s[0], 1, *s[1:]), np.float32) for k, s in facts["state_shapes"].items()}
    draws, text = np.random.Generator(np.random.Philox(key=[seed, 0])), prompt
    for k in range(length + len(prompt) - 1):
        logits, *new = session.run(None, {"symbols": np.array([number[text[k]]]), **state})
        state = dict(zip(state, new, strict=True))
        if k + 1 == len(text):
            p = np.exp(logits[0].astype(float) - logits.max())
            text += facts["vocabulary"][int((p.cumsum() / p.sum() <= draws.random()).sum())]
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--length", type=int, default=2000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = asked.run
        if run is None:
            run = plait.train("text", data="presidents", steps=20, out=Path(folder) / "run").path
        path = plait.export(run, Path(folder) / "step.onnx", step=True)
        model = plait.load(run)
        ours = model.generate("The ", 10)  # compiles
        texts, times = [], []
        for make in (
            lambda: write(path, "The ", asked.length, 3),
            lambda: model.generate("The ", asked.length, seed=3),
        ):
            took = []
            for _ in range(5):
                began = time.process_time()
                ours = make()
                took.append(time.process_time() - began)
            texts.append(ours)
            times.append(min(took))
        layer = model.recurrent
        print(f"{layer.layers} layers of {layer.hidden_size}, {len(model.vocabulary)} symbols")
        print(f"equal texts of {asked.length:,} symbols: {texts[0] == texts[1]}")
        for name, seconds in zip(("ONNX Runtime", "plait generate"), times, strict=True):
            print(f"{name:<15}{asked.length / seconds:>10,.0f} symbols a second")


if __name__ == "__main__":
    main()
