"""The text task: what the training loop asks of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve, draw_curves
from plait.memory import require_memory
from plait.nn.graph import Graph
from plait.tasks.text.batches import Lanes, Windows
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.ngram import ngram_baseline
from plait.tasks.text.parts import parts_in_numbers, text_of, vocabulary_of
from plait.tasks.text.scores import score_stream, symbols_per_character, unknown_share
from plait.tasks.text.words import Words
from plait.training.task import Carry

SAMPLE_PROMPT = "The "
SAMPLE_LENGTH = 200
SAMPLE_BETA = 2.0


class TextTask:
    """Learn a text: the first 90 % to train on, 5 % to choose weights, the last 5 % to test.

    A text that comes in three parts keeps them.
    """

    name: ClassVar[str] = "text"
    unit: str
    criterion: str = "bits_per_character"
    lower_is_better: ClassVar[bool] = True

    def __init__(
        self, config: TextConfig, device: torch.device, known: Mapping[str, Any] | None = None
    ) -> None:
        self.config = config
        self.text = text_of(config)
        self.vocabulary = vocabulary_of(self.text, config, known or {})
        self._require_fitting()
        self.unit, self.criterion = self.vocabulary.unit, config.criterion
        parts = parts_in_numbers(self.text, self.vocabulary)
        self.training, self.validation, self.testing = (part.to(device) for part in parts)
        if len(self.validation) < 2 or len(self.testing) < 2:
            raise InputError(
                f"{self.text.source} has {sum(map(len, parts))} {self.unit}; at least 40 are "
                "needed to train, validate and test on parts of it"
            )
        reader = {"lanes": Lanes, "windows": Windows}[config.batches]
        self.reader = reader(
            self.training, length=config.length, batch_size=config.batch_size, seed=config.seed,
            unit=self.unit,
        )  # fmt: skip
        self.tell: Callable[[Tensor], Tensor] = torch.exp  # a loss as what `criterion` names
        if not isinstance(self.vocabulary, Words):
            symbols = symbols_per_character(self.vocabulary, torch.cat(parts))
            self.tell = partial(torch.mul, other=symbols / math.log(2))
        self.units_per_step = config.length * config.batch_size
        graph = self._word_graph()
        self.model = TextModel(self.vocabulary, config, graph.num_edges if graph else 0)
        if graph is not None:
            self.model.place(graph)
        self.model.to(device)

    def facts(self) -> Mapping[str, Any]:
        """Vocabulary, and what tells whether a text is the same one."""
        edges = {"edges": self.model.graph.num_edges} if self.config.word_graph else {}
        return {
            "vocabulary": self.vocabulary.facts,
            "characters": len(self.text.characters),
            "sha256": self.text.sha256,
            **edges,
        }

    def _require_fitting(self) -> None:
        """Refuse a vocabulary whose output, of one batch, is more than the memory."""
        config, symbols = self.config, len(self.vocabulary)
        weights = 16 * symbols * (config.embedding_size + config.hidden_size)
        logits = 12 * symbols * config.length * config.batch_size  # with gradient and softmax
        fix = "give a smaller --batch-size, --length or --hidden-size"
        if config.units == "chars":
            fix += ", or --units bytes"
        require_memory(weights + logits, f"{self.text.source}, of {symbols:,} symbols,", fix)

    def _word_graph(self) -> Graph | None:
        """Join the words by the training part, where the configuration says so."""
        neighbours = self.config.word_graph
        if not neighbours:
            return None
        from plait.tasks.text.word_graph import word_graph  # with scikit-learn, slow to import

        return word_graph(self.training.cpu().numpy(), len(self.vocabulary), neighbours)

    def begin_with(self, model: TextModel) -> None:
        """Take over the weights of a model trained before; new symbols keep initial weights.

        A graph of words is that of the new text.
        """
        place = {symbol: row for row, symbol in enumerate(self.vocabulary.symbols)}
        rows = torch.tensor([place[symbol] for symbol in model.vocabulary.symbols])
        mine = self.model.state_dict()
        for name, value in model.named_parameters():
            if name.startswith(("recurrent.", "filter.")):
                mine[name].copy_(value)
            else:  # embedding and output: a row a symbol
                mine[name][rows] = value.detach().to(mine[name].device)

    def summary(self) -> dict[str, str]:
        """What a person wants to know before it starts."""
        parts = ", ".join(f"{len(p):,}" for p in (self.training, self.validation, self.testing))
        config = self.config
        unknown = unknown_share(self.vocabulary, self.training)
        parameters = sum(p.numel() for p in self.model.parameters())
        return {
            "text": f"{self.text.source}: {len(self.text.characters):,} characters, "
            f"{len(self.vocabulary):,} symbols"
            + "".join(f", {share:.1%} of the training part <unk>" for share in unknown.values()),
            "parts": f"{parts} symbols to train, validate, test",
            "model": f"{config.cell}, {config.layers} × {config.hidden_size}, "
            f"{parameters:,} parameters",
            "kernels": self.model.recurrent.kernel(),
        }

    def start(self) -> Carry:
        """Zero states where they are carried, nothing where every window starts anew."""
        if self.config.batches == "windows":
            return ()
        layer = self.model.recurrent
        shape = (layer.layers, self.config.batch_size, layer.hidden_size)
        weight = self.model.output.weight
        return tuple(weight.new_zeros(shape) for _ in layer.cell.states)

    def loss(self, step: int, carry: Carry) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Mean nats a symbol over the batch."""
        x, y, fresh = self.reader.batch(step)
        if fresh:
            carry = tuple(torch.zeros_like(s) for s in carry)
        logits, state = self.model(x, carry or None)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        with torch.no_grad():
            likeliest = logits.amax(-1, keepdim=True)  # several times faster than argmax
            accuracy = (logits.gather(-1, y[..., None]) == likeliest).float().mean()
        scores = {self.criterion: self.tell(loss.detach()), "accuracy": accuracy}
        state = state if isinstance(state, tuple) else (state,)
        return loss, scores, tuple(s.detach() for s in state) if carry else ()

    def validate(self) -> Mapping[str, float]:
        """Scores of the text right after the training part."""
        return score_stream(self.model, self.validation)

    def test(self) -> Mapping[str, float]:
        """Scores of the text's end, and those of an n-gram beside them."""
        return self.score(self.testing)

    def score(self, numbers: Tensor) -> dict[str, float]:
        """Score a text, given as numbers, and the n-gram that read the training part."""
        ngram = ngram_baseline(self.training, self.validation, numbers, self.vocabulary)
        unknown = unknown_share(self.vocabulary, numbers)
        return score_stream(self.model, numbers) | unknown | ngram

    def remark(self, scores: Mapping[str, float]) -> str:
        """Say who predicts better, the network or the n-gram."""
        beside = scores[f"ngram_{self.criterion}"]
        gain = beside - scores[self.criterion]
        told = f"{beside:.4f} bits per character"
        if self.criterion == "perplexity":
            told = f"a perplexity of {beside:.2f}"
        text = f"an interpolated {scores['ngram_order']}-gram has {told}"
        if gain < 0:
            return f"{text} and wins by {-gain:.3f}: train longer, or a larger network"
        return f"{text}; the network wins by {gain:.3f}"

    def sample(self, step: int) -> str:
        """Write some text on, at β = 2."""
        prompt = "" if self.vocabulary.unknown(SAMPLE_PROMPT) else SAMPLE_PROMPT
        return self.model.generate(prompt, SAMPLE_LENGTH, beta=SAMPLE_BETA, seed=self.config.seed)

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        """Draw bits per character and accuracy over the steps."""
        config = self.config
        title = f"{self.text.name}: {config.cell}, {config.layers} × {config.hidden_size}"
        names = {
            self.criterion: self.criterion.replace("_", " "), "accuracy": "accuracy, share right"
        }  # fmt: skip
        curves = [Curve(score, label) for score, label in names.items()]
        for test in (r for r in records if r["kind"] == "test"):
            label = f"{test['ngram_order']}-gram on the test part"
            curves = [replace(c, baseline=(test[f"ngram_{c.score}"], label)) for c in curves]
        draw_curves(records, curves, path, title=title)
