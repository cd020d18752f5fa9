"""`plait score` and what else runs a trained model on a text."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from plait.data import read_text
from plait.errors import InputError
from plait.tasks.splits import Splits
from plait.tasks.text.baselines import choose_ngram, ngram_scores
from plait.tasks.text.batches import Windows
from plait.tasks.text.cache import Cache
from plait.tasks.text.config import TextConfig
from plait.tasks.text.dynamic import DynamicEvaluation
from plait.tasks.text.mixture import MixedModel, Mixture
from plait.tasks.text.model import TextModel
from plait.tasks.text.scores import score_stream, unknown_share
from plait.tasks.text.task import TextTask
from plait.training.task import device_of

CHOOSING = 20_000
"""Symbols of the validation set on which it chooses; of the test set, those that show what
rounding costs."""


def score_text(
    model: TextModel,
    config: TextConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    *,
    skip_unknown: bool = False,
    mix: bool = False,
    cache: bool = False,
    dynamic: bool = False,
    encoding: str | None = None,
) -> dict[str, float]:
    """Score a model on a text that it has not seen.

    Parameters
    ----------
    model : TextModel
    config, facts
        Of its run folder.
    data : str
        A text by path or name, all of it. None: the test set of the training text.
    skip_unknown : bool
        Leave characters or words out that the model has never seen, and say how many; words are
        `<unk>` otherwise.
    mix : bool
        Score the network and the n-gram mixed too, by weights fitted on the validation set. With
        `cache` or `dynamic` also all of them in one mixture.
    cache : bool
        Score with a neural cache too, see `plait.tasks.text.cache`, fitted on the validation set.
    dynamic : bool
        Score with dynamic evaluation too, plain and in RMS form, its learning rates and decay
        chosen on the validation set.
    encoding : str
        Of `data`. None: that of the run's own text.

    Returns
    -------
    dict
        The scores of `score_stream`; those of the n-gram, where the training text is still there;
        with `mix`, those of `Mixture.score`; with `cache`, those of `Cache.score`; with `dynamic`,
        `dynamic_bits_per_character` (of words `dynamic_perplexity`) and `dynamic_rate`, in RMS form
        `rms_bits_per_character`, `rms_rate` and `rms_decay`; with `mix` and one of these
        `together_bits_per_character` and the weights of all, as `Mixture.score`; for words
        `unknown_share`, of those scored.

    Raises
    ------
    InputError
        For a text that cannot be read, is too short, or has characters never seen; for `mix`,
        `cache`, `dynamic` or no `data` when the training text is gone.
    """
    scores: dict[str, float] = {}
    try:
        splits = splits_of(model, config, facts)
        numbers = splits.test
    except InputError:
        if data is None or mix or cache or dynamic:
            raise
        splits = None
    if data is not None:
        characters = read_text(
            data, keep_boilerplate=config.keep_boilerplate, encoding=encoding or config.encoding
        ).characters
        if skip_unknown:
            known = model.vocabulary.known(characters)
            scores["characters_skipped"] = len(characters) - len(known)
            characters = known
        numbers = torch.from_numpy(model.vocabulary.read(characters))
    unit, device = model.vocabulary.unit, device_of(model)
    if len(numbers) < 2:
        raise InputError(f"{data} has fewer than two {unit} to score")
    scores |= {unit: len(numbers) - 1, **unknown_share(model.vocabulary, numbers)}
    scores |= score_stream(model, numbers.to(device))
    if splits is None:
        return scores
    ngram = choose_ngram(splits.train, splits.valid, model.vocabulary)
    scores |= ngram_scores(ngram, numbers, model.vocabulary)
    valid, numbers = splits.valid.to(device), numbers.to(device)
    if mix:
        scores |= Mixture.fit(model, ngram, valid).score(model, numbers)
    choosing, fitted, others, rows = valid[:CHOOSING], None, {}, {}
    if cache:
        fitted = Cache.fit(model, choosing)
        scores |= fitted.score(model, numbers)
    if dynamic:
        train = splits.train[-CHOOSING:].long().to(device)
        evaluation = DynamicEvaluation.fit(model, train, choosing)
        others, rows = evaluation.chosen, evaluation.read(model, numbers)
        scores |= evaluation.scores(model, numbers, rows, config.monitor)
    if mix and (cache or dynamic):
        together = Mixture.fit(model, ngram, choosing, fitted, others)
        scores |= together.score(model, numbers, rows, "together")
    return scores


def mixed_model(
    model: TextModel,
    config: TextConfig,
    facts: Mapping[str, Any],
    *,
    mix: bool = True,
    cache: bool = False,
) -> MixedModel:
    """Mix a run's network with the n-gram of its text, a cache or both, to generate text with.

    Raises `InputError` when the training text is gone.
    """
    splits = splits_of(model, config, facts)
    valid = splits.valid.to(device_of(model))
    ngram = choose_ngram(splits.train, splits.valid, model.vocabulary) if mix else None
    fitted = Cache.fit(model, valid[:CHOOSING]) if cache else None
    return MixedModel(
        model, Mixture.fit(model, ngram, valid[:CHOOSING] if cache else valid, fitted)
    )


def cost_of_rounding(
    model: TextModel, rounded: TextModel, config: TextConfig, facts: Mapping[str, Any]
) -> str:
    """Report how much worse a rounded model predicts the first 20,000 symbols of the test set."""
    try:
        numbers = splits_of(model, config, facts).test[:CHOOSING]
    except InputError as error:
        return f"weights in {rounded.weights}; what that costs is not known: {error}"
    score = config.monitor
    before, after = (score_stream(m, numbers)[score] for m in (model, rounded))
    return (
        f"weights in {rounded.weights}: {after:.4f} {score.replace('_', ' ')} in place of "
        f"{before:.4f} ({after - before:+.4f}), on {len(numbers):,} symbols of the test set"
    )


def probe(model: TextModel, config: TextConfig, facts: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return symbols `[T, B]` of the validation set, and those after them, for `plait inspect`."""
    validation = splits_of(model, config, facts).valid
    x, y, _ = Windows(
        validation.to(device_of(model)), length=config.length,
        batch_size=config.batch_size, seed=config.seed, unit=model.vocabulary.unit,
    ).batch(0)  # fmt: skip
    return x, y


def splits_of(model: TextModel, config: TextConfig, facts: Mapping[str, Any]) -> Splits[Tensor]:
    """Read a run's text again, in numbers.

    Raises `InputError` when the text is gone, or no longer the one that the run learnt from.
    """
    task = TextTask.restore(model, config, facts)
    return Splits(task.training, task.validation, task.testing)
