"""A transformer like nanoGPT's, in plain torch, on the text of a run, for equal processor time.

    plait train text --data democracy --recipe good --steps 2000 --threads 1 --out runs/lstm
    python benchmarks/transformer.py runs/lstm --seconds 120

It reads the run's training set for so many seconds of the processor, in which its learning rate
falls to 0, and is scored on the run's validation and test sets, every character but the first. Its
sizes are nanoGPT's for the CPU of a laptop, unless --width, --layers, --context, … are given.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import plait
from plait.tasks.text.config import TextConfig
from plait.tasks.text.inference import splits_of
from plait.training.run import Run


class Block(nn.Module):
    """Attention to what was before, then two linear layers; each is added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:  # [B, T, C]
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # [B, heads, T, C / heads]
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Blocks between an embedding of symbols and places, and an output that shares its weights."""

    def __init__(self, symbols: int, width: int, layers: int, context: int) -> None:
        super().__init__()
        self.context, self.places = context, nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, width // 32) for _ in range(layers)))
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, symbols, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:  # GPT-2's: smaller where a block adds to its input
                last = name.endswith(("out.weight", "mlp.2.weight"))
                nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * layers) if last else 1))

    def forward(self, symbols: Tensor) -> Tensor:  # [B, T]; the output's weights embed, too
        x = self.output.weight[symbols] + self.places.weight[: symbols.shape[1]]
        return self.output(self.norm(self.blocks(x)))


@torch.no_grad()
def bits(model: Transformer, part: Tensor) -> float:
    """Bits per character, each given at least half of the context where the part has as much."""
    half, total = model.context // 2, 0.0
    starts = range(0, len(part) - 1, half)
    for start in starts:
        window = part[max(0, start - half) : start + half + 1]
        logits = model(window[None, :-1])[0]
        new = min(half, len(part) - 1 - start)
        total += F.cross_entropy(logits[-new:], window[-new:], reduction="sum").item()
    return total / (len(part) - 1) / math.log(2)


def train(model: Transformer, part: Tensor, seconds: float, lr: float, batch: int) -> int:
    """Train for so much processor time; return the steps."""
    decayed = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr, (0.9, 0.99), fused=True)
    began, step, random = time.process_time(), 0, torch.Generator().manual_seed(0)
    while (done := (time.process_time() - began) / seconds) < 1:
        step += 1
        rate = lr * min(1, step / 100) * (1 - done)
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(len(part) - model.context, (batch, 1), generator=random)
        rows = part[starts + torch.arange(model.context + 1)].long()
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return step


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    for name, value in {
        "seconds": 120,
        "width": 128,
        "layers": 4,
        "context": 64,
        "batch": 12,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--lr", type=float, default=1e-3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    run, trained = Run.open(given.run), plait.load(given.run)
    splits = splits_of(trained, TextConfig.from_dict(run.config), run.facts)
    model = Transformer(len(trained.vocabulary), given.width, given.layers, given.context)
    steps = train(model, splits.train, given.seconds, given.lr, given.batch)
    valid, test = (bits(model, part.long()) for part in (splits.valid, splits.test))
    count = sum(p.numel() for p in model.parameters())
    print(f"{given}: {count:,} parameters, {steps} steps, validation {valid:.4f}, test {test:.4f}")


if __name__ == "__main__":
    main()
