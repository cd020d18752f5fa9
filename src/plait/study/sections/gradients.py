"""Section 1: the gradient through time, where it vanishes and where it explodes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure
from torch.nn import functional as F

from plait.comparison.results import Result
from plait.diagnostics.gradients import REMEMBERED, LayerFlow
from plait.figures import COLOURS
from plait.inspection import Inspection, inspect
from plait.nn.recurrent import Recurrent
from plait.nn.registry import cell_named
from plait.study.claims import Answer, answer, verdict_of
from plait.study.mathml import at, formula, over, row, whole
from plait.study.page import Block, Listing, Number, Picture, Table, Words, drawing
from plait.study.runs import Made, Wanted, config_of, model_of, run_of, source_of
from plait.tasks import probe_batch

TITLE = "The gradient through time"
SAYS = """The gradient of the output weights W<sub>ph</sub> depends on the last state alone; that of
the recurrent weights W<sub>hh</sub> depends on the state before, so over many steps it may vanish
or explode. The report writes one term of it."""

NETWORKS = {
    "RNN, tanh": {"cell": "rnn", "init": "torch"},
    "RNN, ReLU, Kaiming weights": {"cell": "rnn-relu", "init": "kaiming"},
    "LSTM": {"cell": "lstm", "init": "orthogonal"},
    "GRU": {"cell": "gru", "init": "orthogonal"},
}
DERIVED = ("RNN, tanh", "LSTM")
"""The networks whose gradient is printed in full."""

FLOOR = 1e-12


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """Each network learns to add the two marked numbers of a sequence."""
    return {
        name: Wanted(
            "memory",
            {"problem": "adding", "init": options["init"], **size["options"]},
            {"cell": [options["cell"]]},
        )
        for name, options in NETWORKS.items()
    }


def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell the two gradients, the sum over time, and its norms by time step."""
    results = {name: one.results[0] for name, one in made.items()}
    found = {name: inspect(run_of(r))[0] for name, r in results.items()}
    length = size["options"]["length"]
    norms = {
        name: [r["gradient_norm"] for r in run_of(result).records("train")]
        for name, result in results.items()
    }
    apart = {name: _apart(results[name], found[name]) for name in found}
    blocks: list[Block] = [
        Words("The two gradients of the last step’s loss, with nothing left out:"),
        _OUTPUT,
        _RECURRENT,
        Words(
            Markup(
                "W<sub>hh</sub> is used at every step, so its gradient is a sum over the steps; "
                "the product in it is what vanishes or explodes. ∂⁺ is the derivative of one step "
                "with the state before it held still."
            )
        ),
        Words(
            Markup(
                "The same in full, for one step, as Plait derives it from the code of a cell; its "
                "compiled kernels compute by these lines. W<sub>hh</sub> is U here, one for each "
                "gate; h′ is the state after the step, δ the gradient of the loss, ⊙ the product "
                "channel by channel. In the plain network a step back in time multiplies δh by U "
                "transposed and by the slope 1 − h′ ⊙ h′, which is at most 1. In the LSTM δc has a "
                "way back that passes the forget gate alone."
            )
        ),
        derived(),
        Words(f"Four networks are trained to add two marked numbers among {length}."),
        Table(
            "1-gradients",
            "The two gradients after training, and where the second comes from: the norms of the "
            "steps’ terms as shares of all. The sum over time is checked against what autograd "
            "gives for the whole.",
            ["network", "‖∂L/∂W_ph‖", "‖∂L/∂W_hh‖", "from the last step", "from the older half",
             "sum − autograd, relative"],
            [[name, *_sums(found[name], source_of(r)), Number(apart[name], ".0e", [source_of(r)])]
             for name, r in results.items()],
        ),
        Table(
            "1-reach",
            "What is left of the gradient at the first step, as a share of the last step’s: "
            "below 1 it faded, above 1 it grew. “1 % left” is how many steps back that is.",
            ["network", "at the start", "1 % left", "after training", "1 % left",
             "right answers", "without looking"],
            [_reach(found[name], result) for name, result in results.items()],
        ),
        Picture(
            "1-flow",
            "Left: the norm of the loss’s gradient by time step, before (dashed) and after "
            "(solid) training, down to 10⁻¹². Right: the norm of the whole gradient in training, "
            "before it is clipped.",
            drawing(9.5, 4.2, lambda figure: _draw(figure, found, norms)),
        ),
    ]  # fmt: skip
    return blocks, answers(
        {name: _layer(one.start) for name, one in found.items()},
        {name: _layer(one.trained) for name, one in found.items()},
        {name: source_of(result) for name, result in results.items()},
        {name: max(values) for name, values in norms.items()},
    )


def derived() -> Listing:
    """Print one step forward and the gradient derived from it, by the cells' own code."""
    entries: list[tuple[Markup | str, str]] = []
    for name in DERIVED:
        cell = cell_named(NETWORKS[name]["cell"])
        forward, gradient = cell.equations().split("\n\n")
        entries += [(f"{name}: one step", forward), (f"{name}: its gradient", gradient)]
    return Listing("A step and its gradient, derived from the cell", entries)


def answers(
    start: Mapping[str, LayerFlow],
    trained: Mapping[str, LayerFlow],
    sources: Mapping[str, str],
    worst: Mapping[str, float],
) -> list[Answer]:
    """Say whether it vanishes, whether it explodes, and what the one term leaves out."""
    tanh, relu, lstm, gru = NETWORKS
    fading, growing = start[tanh], start[relu]
    back = len(fading.flow) - 1
    told = [
        answer(
            verdict_of(fading.verdict == "vanishing"),
            "It vanishes: of the tanh network’s gradient {} is left {} steps back."
            if fading.verdict == "vanishing"
            else "It does not vanish: of the tanh network’s gradient {} is left {} steps back.",
            _left(fading, sources[tanh]), back,
        ),
        answer(
            verdict_of(growing.verdict == "exploding"),
            "It explodes: with ReLU and Kaiming weights it grows {}-fold over {} steps, and in "
            "training its norm comes to {}."
            if growing.verdict == "exploding"
            else "It does not explode: with ReLU and Kaiming weights it grows {}-fold over {} "
                 "steps; "
            "in training its norm comes to {}.",
            Number(float(growing.flow.max() / growing.flow[-1]), ".2g", [sources[relu]]), back,
            Number(worst[relu], ".2g", [sources[relu]]),
        ),
    ]  # fmt: skip
    gated = max((lstm, gru), key=lambda name: float(trained[name].flow[0] / trained[name].flow[-1]))
    told.append(
        answer(
            "measured",
            "Gates keep it: after training the {} has {} of its gradient left at the first step, "
            "the tanh network {}."
            if _share(trained[gated]) > _share(trained[tanh])
            else "Gates do not keep it here: after training the {} has {} of its gradient left at "
            "the first step, the tanh network {}.",
            gated, _left(trained[gated], sources[gated]), _left(trained[tanh], sources[tanh]),
        )
    )  # fmt: skip
    last = float(trained[gated].shares[-1])
    told.append(
        answer(
            "measured",
            "The one term that the report writes, the last step’s, has {} of the norm of all terms "
            "in the {}: the rest is the memory.",
            Number(last, ".1%", [sources[gated]]), gated,
        )
    )  # fmt: skip
    return told


def _layer(flow: Any) -> LayerFlow:
    return flow.layers[0]


def _share(layer: LayerFlow) -> float:
    return float(layer.flow[0] / layer.flow[-1])


def _left(layer: LayerFlow, source: str) -> Number:
    return Number(_share(layer), ".2g", [source])


def _sums(found: Inspection, source: str) -> list[Number]:
    assert found.trained is not None
    layer = found.trained.layers[0]
    older = float(layer.shares[: len(layer.shares) // 2].sum())
    return [
        Number(found.trained.output, ".2g", [source]),
        Number(layer.recurrent, ".2g", [source]),
        Number(float(layer.shares[-1]), ".1%", [source]),
        Number(older, ".1%", [source]),
    ]


def _reach(found: Inspection, result: Result) -> list[Any]:
    source, cells = source_of(result), []
    for flow in (found.start, found.trained):
        layer = _layer(flow)
        reach = Number(layer.memory, "d", [source])
        cells += [_left(layer, source), "never" if layer.memory is None else reach]
    return [
        next(name for name, o in NETWORKS.items() if o["cell"] == config_of(result).cell),
        *cells,
        Number(result.row["test_accuracy"], ".1%", [source]),
        Number(result.row["test_prior"], ".1%", [source]),
    ]


def _apart(result: Result, found: Inspection) -> float:
    """Give how far the norm of the sum over time is from that of autograd's whole gradient."""
    run, model = run_of(result), model_of(result).double()
    x, y = probe_batch("memory", model, config_of(result), run.facts)
    F.mse_loss(model(x.double()), y.double()).backward()
    recurrent: Recurrent = model.recurrent
    strand: Any = recurrent.directions[0]
    parts = [w.grad.square().sum() for w in strand.recurrent.values()]
    whole_norm = float(torch.stack(parts).sum().sqrt())
    assert found.trained is not None
    return abs(found.trained.layers[0].recurrent - whole_norm) / whole_norm


def _draw(
    figure: Figure, found: Mapping[str, Inspection], norms: Mapping[str, Sequence[float]]
) -> None:
    left, right = figure.subplots(1, 2)
    for colour, (name, one) in zip(COLOURS, found.items(), strict=False):
        for flow, style in ((one.start, "--"), (one.trained, "-")):
            share = (_layer(flow).flow / _layer(flow).flow[-1]).numpy()
            back = np.arange(len(share))[::-1]
            label = name if style == "-" else None
            left.semilogy(back, np.where(share > FLOOR, share, np.nan), style, color=colour,
                          label=label)  # fmt: skip
        right.semilogy(np.arange(1, len(norms[name]) + 1), norms[name], color=colour, linewidth=0.8)
    left.axhline(REMEMBERED, color="0.3", linestyle=":", linewidth=1)
    left.set_xlabel("steps back from the last")
    left.set_ylabel("‖∂L/∂state‖, last step = 1")
    right.set_xlabel("training step")
    right.set_ylabel("norm of the whole gradient")
    figure.legend(loc="outside lower center", ncols=2)


_T = "(T)"
_OUTPUT = formula(
    "The gradient of the output weights: the loss by the answer, the answer by p, p by the "
    "weights.",
    over("∂ L", row("∂", at("W", "ph"))), "=",
    over("∂ L", "∂ ŷ"), over("∂ ŷ", "∂ p"), over("∂ p", row("∂", at("W", "ph"))),
)  # fmt: skip
_RECURRENT = formula(
    "The gradient of the recurrent weights: a sum over all time steps t of the loss by the last "
    "state, times the product of each state's derivative by the one before, times what step t "
    "itself owes to the weights.",
    over("∂ L", row("∂", at("W", "hh"))), "=",
    whole("∑", "t=1", "T"),
    over("∂ L", row("∂", at("h", above=_T))), "(",
    whole("∏", "k=t+1", "T"),
    over(row("∂", at("h", above="(k)")), row("∂", at("h", above="(k−1)"))),
    ")", over(row(at("∂", above="+"), at("h", above="(t)")), row("∂", at("W", "hh"))),
)  # fmt: skip
