"""The text task: its data, batches, loss and scores."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve
from plait.kernels.precision import MULTIPLIES
from plait.memory import require_memory
from plait.nn.forms import as_tuple
from plait.tasks.baseline_report import curves_next_to
from plait.tasks.text.baselines import choose_ngram, counted, ngram_scores
from plait.tasks.text.batches import StatefulStreams, Windows
from plait.tasks.text.data import read_data
from plait.tasks.text.mixture import Mixture
from plait.tasks.text.model import TextModel
from plait.tasks.text.scores import score_stream, unknown_share
from plait.tasks.text.sizes import sizes_for
from plait.tasks.text.words import Words
from plait.training.task import Carry, Task, count_weights

SAMPLE_PROMPT = "The "
SAMPLE_LENGTH = 200
SAMPLE_BETA = 2.0


class TextTask(Task):
    """Learn a text: the first 90 % to train on, 5 % to choose weights, the last 5 % to test.

    A text that comes in three parts keeps them.
    """

    name: ClassVar[str] = "text"
    model_class: ClassVar[type[TextModel]] = TextModel
    splits_batches = True

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the text and number its symbols."""
        config = self.config
        self.text = read_data(config, known)
        self.source, self.vocabulary = self.text.source, self.text.vocabulary
        self._require_memory()
        self.unit, self.monitor = self.vocabulary.unit, config.monitor
        splits = self.text.splits
        self.validation, self.testing = splits.valid.to(self.device), splits.test.to(self.device)
        mapped = splits.train.dtype != torch.long  # of a large text, which stays where it is
        self.training = splits.train if mapped else splits.train.to(self.device)
        if len(self.validation) < 2 or len(self.testing) < 2:
            raise InputError(
                f"{self.source} has {sum(map(len, splits))} {self.unit}; at least 40 are "
                "needed to train, validate and test on parts of it"
            )
        streams = {"lanes": StatefulStreams, "windows": Windows}[config.batches]
        self.batches = streams(
            self.training, length=config.length, batch_size=config.batch_size, seed=config.seed,
            unit=self.unit, ranks=self.ranks, device=self.device,
        )  # fmt: skip
        self.loss_to_metric: Callable[[Tensor], Tensor] = torch.exp
        if not isinstance(self.vocabulary, Words):
            other = self.text.symbols_per_character / math.log(2)
            self.loss_to_metric = partial(torch.mul, other=other)
        self.units_per_step = config.length * config.batch_size * self.ranks.count

    def make_model(self) -> TextModel:
        """Make the model, with a graph of words from the training set where one is asked for."""
        neighbours = self.config.word_graph
        if not neighbours:
            return TextModel(self.vocabulary, self.config)
        from plait.tasks.text.word_graph import word_graph  # with scikit-learn, slow to import

        graph = word_graph(counted(self.training), len(self.vocabulary), neighbours)
        model = TextModel(self.vocabulary, self.config, graph.num_edges)
        model.place(graph)
        return model

    def facts(self) -> Mapping[str, Any]:
        """Return the vocabulary, and what identifies the text."""
        edges = {"edges": self.model.graph.num_edges} if self.config.word_graph else {}
        held_out = {"held_out": self.text.held_out} if self.text.held_out else {}
        return {
            "vocabulary": self.vocabulary.facts,
            "characters": self.text.characters,
            "sha256": self.text.sha256,
            **held_out,
            **edges,
        }

    def _require_memory(self) -> None:
        """Refuse a vocabulary whose output, of one batch, is more than the memory."""
        config, symbols = self.config, len(self.vocabulary)
        weights = 16 * symbols * (config.embedding_size + config.hidden_size)
        logits = 12 * symbols * config.length * config.batch_size  # with gradient and softmax
        fix = "give a smaller --batch-size, --length or --hidden-size"
        if config.units == "chars":
            fix += ", or --units bytes"
        if config.units in ("bpe", "words"):
            fix += ", or a smaller --vocabulary"
        require_memory(weights + logits, f"{self.source}, of {symbols:,} symbols,", fix)

    def default_steps(self) -> int:
        """Return the configured steps, in proportion more for more than a million symbols."""
        return round(self.config.steps * max(1.0, len(self.training) / 1e6))

    def sizes_for(
        self, minutes: float, seconds_per_step: float, fixed: Collection[str]
    ) -> Mapping[str, Any]:
        """Return what suits the time and the text: the faster the machine, the wider the layers."""
        return sizes_for(
            self.config,
            fixed,
            read=60 * minutes / seconds_per_step * self.units_per_step,
            symbols=len(self.training),
            half=MULTIPLIES and self.model.recurrent.kernel().startswith("oneDNN"),
        )

    def load_pretrained(self, model: TextModel) -> None:
        """Take over the weights of a model trained before; new symbols keep initial weights.

        A graph of words is that of the new text.
        """
        place = {symbol: row for row, symbol in enumerate(self.vocabulary.symbols)}
        rows = torch.tensor([place[symbol] for symbol in model.vocabulary.symbols])
        own = self.model.state_dict()
        for name, value in model.named_parameters():
            if name.startswith(("recurrent.", "filter.")):
                own[name].copy_(value)
            else:  # embedding and output: a row per symbol
                own[name][rows] = value.detach().to(own[name].device)

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        parts = ", ".join(f"{len(p):,}" for p in (self.training, self.validation, self.testing))
        config = self.config
        unknown = unknown_share(self.vocabulary, self.training)
        return {
            "text": f"{self.source}: {self.text.characters:,} characters, "
            f"{len(self.vocabulary):,} symbols"
            + "".join(f", {share:.1%} of the training set <unk>" for share in unknown.values()),
            "split": f"{parts} symbols to train, validate, test",
            "model": f"{config.cell}, {config.layers} × {config.hidden_size}, "
            f"{count_weights(self.model):,} parameters",
            "kernels": self.model.recurrent.kernel(),
        }

    def start(self) -> Carry:
        """Return zero states where they are carried, nothing where every window starts anew."""
        if self.config.batches == "windows":
            return ()
        layer = self.model.recurrent
        shape = (layer.layers, self.config.batch_size, layer.hidden_size)
        weight = self.model.output.weight
        return tuple(weight.new_zeros(shape) for _ in layer.cell.states)

    def batch(self, step: int) -> tuple[Tensor, Tensor, bool]:
        """Return symbols `[T, B]`, those that follow, and whether the states start anew."""
        return self.batches.batch(step)

    def loss(
        self, model: TextModel, batch: tuple[Tensor, Tensor, bool], carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return mean nats per symbol of the batch."""
        x, y, fresh = batch
        if fresh:
            carry = tuple(torch.zeros_like(s) for s in carry)
        logits, state = model(x, carry or None)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        with torch.no_grad():
            likeliest = logits.amax(-1, keepdim=True)  # several times faster than argmax
            accuracy = (logits.gather(-1, y[..., None]) == likeliest).float().mean()
        scores = {self.monitor: self.loss_to_metric(loss.detach()), "accuracy": accuracy}
        return loss, scores, tuple(s.detach() for s in as_tuple(state)) if carry else ()

    def validate(self) -> Mapping[str, float]:
        """Return the scores of the text right after the training set."""
        return score_stream(self.model, self.validation)

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of the text's end."""
        unknown = unknown_share(self.vocabulary, self.testing)
        return score_stream(self.model, self.testing) | unknown

    def baselines(self) -> Mapping[str, float]:
        """Return the scores of the n-gram, and of its mixture with the model, on the text's end."""
        ngram = choose_ngram(self.training, self.validation, self.vocabulary)
        mixture = Mixture.fit(self.model, ngram, self.validation)
        scores = ngram_scores(ngram, self.testing, self.vocabulary)
        return scores | mixture.score(self.model, self.testing)

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return which predicts best, the model, the n-gram or their mixture."""
        ngram, mix = scores[f"ngram_{self.monitor}"], scores.get(f"mix_{self.monitor}")
        gain = ngram - scores[self.monitor]
        text = f"an interpolated {scores['ngram_order']}-gram"
        if "ngram_symbols" in scores:
            text += f", of the last {scores['ngram_symbols']:,} symbols to train on,"
        text += f" has {self._has(ngram)}"
        if gain < 0:
            text += f" and wins by {-gain:.3f}: train longer, or a larger network"
        else:
            text += f"; the network wins by {gain:.3f}"
        if mix is None:  # of a run that 0.1.0 tested
            return text
        best = "the network" if gain >= 0 else f"the {scores['ngram_order']}-gram"
        if mix < min(ngram, scores[self.monitor]):
            best = "the mixture (--mix)"
        return f"{text}. Mixed, they have {self._has(mix)}. Best: {best}"

    def _has(self, score: float) -> str:
        """Return a score in words."""
        if self.monitor == "perplexity":
            return f"a perplexity of {score:.2f}"
        return f"{score:.4f} bits per character"

    def sample(self, step: int) -> str:
        """Write some text, at β = 2."""
        prompt = "" if self.vocabulary.unknown(SAMPLE_PROMPT) else SAMPLE_PROMPT
        return self.model.generate(prompt, SAMPLE_LENGTH, beta=SAMPLE_BETA, seed=self.config.seed)

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return text, cell and sizes."""
        config = self.config
        return f"{self.text.name}: {config.cell}, {config.layers} × {config.hidden_size}"

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return bits per character, or perplexity, and accuracy."""
        labels = {
            self.monitor: self.monitor.replace("_", " "), "accuracy": "accuracy, share right"
        }  # fmt: skip
        order = (test or {}).get("ngram_order")
        return curves_next_to(labels, test, "ngram", f"{order}-gram, test")
