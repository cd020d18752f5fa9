"""The command that writes text: `generate`."""

import sys
from pathlib import Path
from typing import Literal

from plait.cli.entry import app
from plait.cli.flags import Device, On, Seed, Several, Threads, Whole
from plait.errors import InputError
from plait.terminal import show


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
    typical_p: float | None = None,
    mirostat: float | None = None,
    no_repeat: Whole | None = None,
    repetition_penalty: float | None = None,
    contrastive: float | None = None,
    beams: Whole | None = None,
    count: Whole = 1,
    stop: Several = None,
    skip_unknown: On = False,
    stream: On = False,
    listing: On = False,
    mix: On = False,
    cache: On = False,
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Generate text from a prompt with the model of a run.

    Example: plait generate runs/text-presidents --prompt "The people" --beta 2

    Parameters
    ----------
    run : Path
        The run folder.
    prompt : list
        Text to continue; may be given more than once.
    length : Whole
        Characters or words to generate after the prompt.
    temperature : float
        Divides the logits: below 1 sharper, above 1 more random, 0 greedy.
    beta : float
        Inverse temperature, 1 / temperature: 0 uniform, large values greedy.
    greedy : bool
        Always take the likeliest character or word.
    top_k : Whole
        Sample from the k likeliest symbols.
    top_p : float
        Sample from the smallest set of likeliest symbols with this total probability.
    min_p : float
        Sample from symbols with at least this share of the likeliest one's probability.
    typical_p : float
        Locally typical sampling: from the symbols whose surprisal is nearest to the entropy, with
        this total probability.
    mirostat : float
        Mirostat: keep the surprisal of the symbols near this many bits.
    no_repeat : Whole
        Exclude symbols that would repeat a string of so many symbols.
    repetition_penalty : float
        Multiplies the log-probability of the last 64 symbols; above 1 they get less likely.
    contrastive : float
        Contrastive search: from 0, greedy, to 1, how much states like those before are avoided; of
        the --top-k likeliest symbols (default: 4).
    beams : Whole
        Find a likely text by beam search with so many beams.
    count : Whole
        Number of texts.
    stop : list
        Stop before this string; may be given more than once.
    skip_unknown : bool
        Drop characters or words of the prompt that are not in the vocabulary.
    stream : bool
        Print each character or word as soon as it is generated.
    listing : bool
        Print texts generated with the weights after 1/3, 2/3 and all of the training.
    mix : bool
        Sample from a mixture of the network and the n-gram of its text, with weights fitted on the
        validation set.
    cache : bool
        Sample from a mixture of the network and a neural cache of the text so far; also with --mix.
    weights : str
        Round the matrices to bfloat16 or int8, which is faster for large models, and report the
        cost in bits per character.
    """
    from plait.api import choose_device, load, load_kept, set_threads
    from plait.generation import TextGenerator
    from plait.tasks import model_class
    from plait.tasks.text.writing import TextRequest
    from plait.training.run import Run

    set_threads(threads)
    opened = Run.open(run)
    if not issubclass(model_class(opened.task), TextGenerator):
        raise InputError(f"{run} was trained on {opened.task!r} and writes no text")
    sampling = {
        "temperature": temperature, "beta": beta, "greedy": greedy,
        "top_k": top_k, "top_p": top_p, "min_p": min_p, "typical_p": typical_p,
        "mirostat": mirostat, "no_repeat": no_repeat, "repetition_penalty": repetition_penalty,
    }  # fmt: skip
    request = TextRequest(
        prompts=prompt or [""], length=length, count=count, stop=stop or (), beams=beams,
        contrastive=contrastive, stream=stream, listing=listing, mix=mix, cache=cache,
        weights=weights, seed=seed, skip_unknown=skip_unknown, sampling=sampling,
    )  # fmt: skip
    where = str(choose_device(device))
    if listing:
        pieces = request.list_thirds(load_kept(opened, where), opened)
    else:
        model, cost = request.prepared(load(opened, where), opened)
        if cost:
            show(f"plait: {cost}", sys.stderr)
        pieces = request.write(model)
    for piece in pieces:
        show(piece, end="")
