"""A character language model and its training, complete in one file.

    python examples/char_lstm.py book.txt --steps 1000 --prompt "It was "

An LSTM reads a text character by character and predicts the next one. Printed are its bits per
character on the last tenth of the text, next to those of bigram counts, then what it writes.

T is time, B the batch, H the hidden size, V the number of characters.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait import LSTM, Recurrent


class CharLSTM(nn.Module):
    """P(next character | all characters before it)."""

    def __init__(self, characters: str, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.characters = characters
        self.embedding = nn.Embedding(len(characters), hidden_size)
        self.recurrent = Recurrent(LSTM(), hidden_size, hidden_size, layers=layers)
        self.output = nn.Linear(hidden_size, len(characters))

    def forward(
        self, x: Tensor, state: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the logits of the character after each of `x [T, B]`, and the last state."""
        e = self.embedding(x)  # [T, B, H]
        y, state = self.recurrent(e, state)  # y [T, B, H], state h and c: [layers, B, H] each
        return self.output(y), state  # [T, B, V]

    def encode(self, text: str) -> Tensor:
        """Return the number of each character, `[len(text)]`."""
        number = {c: k for k, c in enumerate(self.characters)}
        return torch.tensor([number[c] for c in text], dtype=torch.long)

    def decode(self, numbers: Sequence[int]) -> str:
        """Return the text of these numbers."""
        return "".join(self.characters[k] for k in numbers)

    @torch.no_grad()
    def sample(self, prompt: str, length: int, *, temperature: float = 1.0, seed: int = 0) -> str:
        """Return the prompt and `length` more characters; temperature 0 takes the likeliest."""
        random = torch.Generator().manual_seed(seed)
        logits, state = self(self.encode(prompt)[:, None])  # [T, 1, V]
        written: list[int] = []
        for _ in range(length):
            last = logits[-1, 0]  # [V]
            if temperature == 0:
                drawn = last.argmax(keepdim=True)  # [1]
            else:
                p = torch.softmax(last / temperature, -1)  # [V]
                drawn = torch.multinomial(p, 1, generator=random)  # [1]
            written.append(int(drawn))
            logits, state = self(drawn[:, None], state)  # [1, 1, V]
        return prompt + self.decode(written)


def batch_of(text: Tensor, length: int, batch_size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return windows of a text and the characters that follow each position, `[T, B]` both."""
    random = torch.Generator().manual_seed(seed)
    start = torch.randint(len(text) - length, (batch_size,), generator=random)  # [B]
    at = start + torch.arange(length)[:, None]  # [T, B]
    return text[at], text[at + 1]


def train(
    model: CharLSTM, text: Tensor, *, steps: int, length: int, batch_size: int, lr: float, seed: int
) -> None:
    """Minimise the cross-entropy of the next character with Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for step in range(1, steps + 1):
        x, target = batch_of(text, length, batch_size, seed * steps + step)
        logits, _ = model(x)  # [T, B, V]
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())  # over T·B characters
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if step % max(1, steps // 10) == 0:
            print(f"step {step}/{steps}: training loss {loss.item():.4f} nats per character")


@torch.no_grad()
def bits_per_character(model: CharLSTM, text: Tensor) -> float:
    """Return −log₂ P per character, over a text that is read once from start to end."""
    total, state = 0.0, None
    for x, target in zip(text[:-1].split(1000), text[1:].split(1000), strict=True):  # [T] each
        logits, state = model(x[:, None], state)  # [T, 1, V]; the state is carried on
        total += F.cross_entropy(logits[:, 0], target, reduction="sum").item()
    return total / (len(text) - 1) / math.log(2)


def bigram_bits(training: Tensor, text: Tensor, characters: int) -> float:
    """Return the bits per character of P(next | last) from counts of pairs, each plus one."""
    counts = torch.ones(characters, characters)  # [V, V]
    one = torch.ones(len(training) - 1)
    counts.index_put_((training[:-1], training[1:]), one, accumulate=True)
    p = counts / counts.sum(1, keepdim=True)  # rows sum to 1
    return -p[text[:-1], text[1:]].log2().mean().item()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on a text file, print scores and samples."""
    parser = argparse.ArgumentParser(description="Train a character LSTM on a text file.")
    parser.add_argument("file", type=Path)
    for name, default in (("steps", 1000), ("hidden-size", 128), ("layers", 2), ("length", 50),
                          ("batch-size", 64), ("seed", 0), ("sample", 200)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--prompt", default="")
    options = parser.parse_args(arguments)

    text = options.file.read_text(encoding="utf-8")
    characters = "".join(sorted(set(text)))
    prompt = options.prompt or text[:1]
    held_out = len(text) // 10  # the last tenth, never trained on
    if held_out < 2 or len(text) - held_out <= options.length:
        parser.error(f"{options.file} is too short: {len(text)} characters")
    if unknown := set(prompt) - set(characters):
        parser.error(f"--prompt has characters that the text has not: {sorted(unknown)}")

    torch.manual_seed(options.seed)
    model = CharLSTM(characters, options.hidden_size, options.layers)
    numbers = model.encode(text)
    training, test = numbers[:-held_out], numbers[-held_out:]
    train(
        model, training, steps=options.steps, length=options.length,
        batch_size=options.batch_size, lr=options.lr, seed=options.seed,
    )  # fmt: skip
    print(f"bits per character on the last tenth: LSTM {bits_per_character(model, test):.3f}, "
          f"bigram counts {bigram_bits(training, test, len(characters)):.3f}")  # fmt: skip
    print(f"\ngreedy:\n{model.sample(prompt, options.sample, temperature=0)}")
    print(f"\ntemperature {options.temperature:g}:")
    print(model.sample(prompt, options.sample, temperature=options.temperature, seed=options.seed))


if __name__ == "__main__":
    main()
