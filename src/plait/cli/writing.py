"""The command that writes: `generate`."""

import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from plait.cli.entry import app
from plait.cli.flags import Device, On, Seed, Several, Threads, Whole
from plait.errors import InputError
from plait.terminal import show

LONG = 100_000
"""Symbols beyond which a text is printed while it is written."""


@app.command
def generate(
    run: Path,
    *,
    prompt: Several = None,
    length: Whole = 300,
    temperature: float | None = None,
    beta: float | None = None,
    greedy: On = False,
    top_k: Whole | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    beams: Whole | None = None,
    count: Whole = 1,
    stop: Several = None,
    skip_unknown: On = False,
    stream: On = False,
    listing: On = False,
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Write on from a prompt with the model of a run.

    Example: plait generate runs/text-presidents --prompt "The people" --beta 2

    Parameters
    ----------
    run : Path
        The run folder.
    prompt : list
        Text to go on from; may be given more than once.
    length : Whole
        Characters or words to write.
    temperature : float
        Divides the logits: below 1 bolder, above 1 wilder, 0 greedy.
    beta : float
        1 / temperature, as the report has it: 0 uniform, large greedy.
    greedy : bool
        The likeliest character, always.
    top_k : Whole
        Draw from the k likeliest characters.
    top_p : float
        Draw from the smallest set of likeliest characters that holds this probability.
    min_p : float
        Draw from characters at least this share as likely as the likeliest.
    beams : Whole
        Look for the likeliest text, keeping so many at every character (beam search).
    count : Whole
        Write so many texts.
    stop : list
        End before this string; may be given more than once.
    skip_unknown : bool
        Leave characters or words of the prompt out that the model has never seen.
    stream : bool
        Print each character or word as it is drawn.
    listing : bool
        The report's layout: what the weights at 1/3, 2/3 and 3/3 of the training write.
    weights : str
        Round the matrices to bfloat16 or int8, faster for large networks, and say what that costs
        in bits per character.
    """
    from plait.api import choose_device, load, load_kept, set_threads
    from plait.generation import AT_ONCE, WritesText
    from plait.tasks import model_class
    from plait.training.run import Run

    set_threads(threads)
    opened = Run.open(run)
    if not issubclass(model_class(opened.task), WritesText):
        raise InputError(f"{run} was trained on {opened.task!r} and writes no text")
    prompts = prompt or [""]
    sampling = {
        "temperature": temperature, "beta": beta, "greedy": greedy,
        "top_k": top_k, "top_p": top_p, "min_p": min_p,
    }  # fmt: skip
    drawn = {"seed": seed, "skip_unknown": skip_unknown, **sampling}
    ways = {"--stream": stream, "--listing": listing, "--beams": beams is not None}
    chosen = [flag for flag, on in ways.items() if on]
    if len(chosen) > 1:
        raise InputError(f"give one of {' and '.join(chosen)}")
    if chosen and (count != 1 or stop or (stream and len(prompts) > 1)):
        raise InputError(f"{chosen[0]} writes one text to its end; leave out --count and --stop")
    if listing and weights != "float32":
        raise InputError("--listing shows the weights as they were trained; leave out --weights")
    if listing:
        from plait.tasks.text.listing import listing as list_thirds

        accuracy = [record["accuracy"] for record in opened.records("train")]
        models = load_kept(opened, str(choose_device(device)))
        for line in list_thirds(models, accuracy, prompts, length, **drawn):
            show(line)
        return
    model = load(opened, str(choose_device(device)))
    if weights != "float32":
        from plait.tasks.text.config import TextConfig
        from plait.tasks.text.inference import cost_of_rounding

        trained, model = model, model.with_weights(weights)
        config = TextConfig.from_dict(opened.config)
        show(f"plait: {cost_of_rounding(trained, model, config, opened.facts)}", sys.stderr)
    if stream:
        _write_at_once(model, prompts[0], length, 1, drawn)
        return
    if length > LONG and count == 1 and not stop and beams is None and len(prompts) == 1:
        _write_at_once(model, prompts[0], length, AT_ONCE, drawn)
        return
    for begin in prompts:
        if beams is not None:
            if any(value not in (None, False) for value in sampling.values()):
                raise InputError("--beams looks for one likeliest text; leave out how to draw")
            texts = [model.beam_search(begin, length, beams=beams, skip_unknown=skip_unknown)]
        else:
            texts = model.generate(begin, length, count=count, stop=stop or (), **drawn)
        for k, text in enumerate(texts):
            if count > 1 or len(prompts) > 1:
                show(f"--- {k}")
            show(text)


def _write_at_once(
    model: Any, prompt: str, length: int, at_once: int, drawn: Mapping[str, Any]
) -> None:
    """Print a text as it is written, so many symbols at a time."""
    symbols = model.stream(prompt, length, at_once=at_once, **drawn)
    show(model.clean_prompt(prompt, skip_unknown=drawn["skip_unknown"]), end="")
    for pieces in iter(lambda: list(islice(symbols, at_once)), []):
        show("".join(pieces), end="")
    show()
