"""Section 1: the gradient through time, where it vanishes and where it explodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure
from torch.nn import functional as F

from plait.comparison.results import Result
from plait.diagnostics.gradients import REMEMBERED, LayerFlow
from plait.figures import COLOURS
from plait.inspection import inspect
from plait.nn.recurrent import Recurrent
from plait.nn.registry import cell_named
from plait.study.mathml import bounded, formula, fraction, indexed, row
from plait.study.page import Block, Listing, Number, Paragraph, Picture, Table, drawing, mean_of
from plait.study.runs import FinishedRuns, RunRequest, config_of, model_of, run_of, source_of
from plait.study.verdicts import Finding, finding, unanimous, verdict_of
from plait.tasks import probe_batch

TITLE = "The gradient through time"
REPORT_CLAIM = """The gradient of the output weights W<sub>ph</sub> depends only on the last state.
That of the recurrent weights W<sub>hh</sub> depends on the previous state too, so over many steps
it may vanish or explode. The report writes one term of it."""

NETWORKS = {
    "RNN, tanh": {"cell": "rnn", "init": "torch"},
    "RNN, ReLU, Kaiming weights": {"cell": "rnn-relu", "init": "kaiming"},
    "LSTM": {"cell": "lstm", "init": "orthogonal"},
    "GRU": {"cell": "gru", "init": "orthogonal"},
}
DERIVED = ("RNN, tanh", "LSTM")
"""The networks whose gradient is printed in full."""

FLOOR = 1e-12
"""The smallest gradient that is drawn."""


@dataclass(frozen=True)
class Measured:
    """The gradient flow of one trained network.

    Attributes
    ----------
    start, trained : LayerFlow
        Before and after training.
    output : float
        ‖∂L/∂W_ph‖ after training.
    norms : sequence of float
        Norm of the whole gradient at each training step, before clipping.
    error : float
        Relative difference of the sum over time from autograd's gradient of W_hh.
    accuracy, prior : float
        On the test set, and of always giving the likelier answer.
    source : str
        The link to the run.
    """

    start: LayerFlow
    trained: LayerFlow
    output: float
    norms: Sequence[float]
    error: float
    accuracy: float
    prior: float
    source: str


Networks = Mapping[str, Sequence[Measured]]
"""The runs of each network, seed by seed."""


def required_runs(size: Mapping[str, Any]) -> dict[str, RunRequest]:
    """Request networks that learn to add the two marked numbers of a sequence."""
    return {
        name: RunRequest(
            "memory",
            {"problem": "adding", "init": options["init"], **size["options"]},
            {"cell": [options["cell"]]},
            size["seeds"],
        )
        for name, options in NETWORKS.items()
    }


def measure(result: Result) -> Measured:
    """Measure the gradient flow of a run, before and after training."""
    (found,) = inspect(run_of(result))
    assert found.start is not None
    assert found.trained is not None
    assert found.trained.output is not None
    trained = found.trained.layers[0]
    records = run_of(result).records("train")
    return Measured(
        start=found.start.layers[0],
        trained=trained,
        output=found.trained.output,
        norms=[r["gradient_norm"] for r in records],
        error=_error(result, trained),
        accuracy=result.row["test_accuracy"],
        prior=result.row["test_prior"],
        source=source_of(result),
    )


def render(
    runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Finding]]:
    """Show the two gradients, the sum over time, and its norms by time step."""
    networks = {name: [measure(r) for r in one.results] for name, one in runs.items()}
    return blocks(networks, size["options"]["length"]), findings(networks)


def blocks(networks: Networks, length: int) -> Sequence[Block]:
    """Return the equations, the tables and the picture."""
    baseline = next(iter(networks.values()))[0]
    return [
        Paragraph("The two gradients of the last step’s loss, in full:"),
        _OUTPUT,
        _RECURRENT,
        Paragraph(
            Markup(
                "W<sub>hh</sub> is used at every step, so its gradient is a sum over time steps. "
                "The product of Jacobians in it is what vanishes or explodes. ∂⁺ is the derivative "
                "within one step, with the previous state held constant."
            )
        ),
        Paragraph(
            Markup(
                "Below are the same gradients for one step, as Plait derives them from the code of "
                "a cell; the compiled kernels compute exactly these lines. U is W<sub>hh</sub>, "
                "one matrix per gate; h′ is the new state, δ the gradient of the loss with respect "
                "to a quantity, ⊙ the elementwise product. In the plain RNN, one step back in time "
                "multiplies δh by the transpose of U and by the slope 1 − h′ ⊙ h′, which is at "
                "most 1. In the LSTM, δc also has a path that passes only through the forget gate."
            )
        ),
        derived(),
        Paragraph(
            f"Four networks are trained to add the two marked numbers of a sequence of {length}."
        ),
        Table(
            "1-gradients",
            "Norms of the two gradients after training, and how much each step’s term contributes "
            "to the second: its share of the sum of all terms’ norms. The last column is the "
            "relative difference between the sum over time and autograd’s gradient.",
            ["network", "‖∂L/∂W_ph‖", "‖∂L/∂W_hh‖", "last step’s share", "first half’s share",
             "relative difference"],
            [[name, _mean(of, lambda m: m.output, ".2g"),
              _mean(of, lambda m: m.trained.recurrent, ".2g"),
              _mean(of, lambda m: float(m.trained.shares[-1]), ".1%"),
              _mean(of, lambda m: float(m.trained.shares[: len(m.trained.shares) // 2].sum()),
                    ".1%"),
              Number(max(m.error for m in of), ".0e", [m.source for m in of])]
             for name, of in networks.items()],
        ),
        Table(
            "1-reach",
            "The gradient at the first step, relative to the last step’s: below 1 it vanishes, "
            "above 1 it grows. “Steps to 1 %” is how many steps back less than 1 % is left. The "
            "baseline always gives the likelier answer.",
            ["network", "untrained", "steps to 1 %", "trained", "steps to 1 %", "accuracy"],
            [*([name, _mean(of, lambda m: _share(m.start), ".2g"), _reach([m.start for m in of]),
                _mean(of, lambda m: _share(m.trained), ".2g"), _reach([m.trained for m in of]),
                _mean(of, lambda m: m.accuracy, ".1%")] for name, of in networks.items()),
             ["baseline", None, None, None, None, Number(baseline.prior, ".1%", [baseline.source])],
            ],
        ),
        Picture(
            "1-flow",
            "Left: norm of the gradient by time step, before (dashed) and after (solid) training, "
            "down to 10⁻¹²; one line per seed. Right: norm of the whole gradient during training, "
            "before clipping.",
            drawing(9.5, 4.2, lambda figure: _draw(figure, networks)),
        ),
    ]  # fmt: skip


def derived() -> Listing:
    """Return one step forward and the gradient derived from it, by the cells' own code."""
    entries: list[tuple[Markup | str, str]] = []
    for name in DERIVED:
        cell = cell_named(NETWORKS[name]["cell"])
        forward, gradient = cell.equations().split("\n\n")
        entries += [(f"{name}: one step", forward), (f"{name}: its gradient", gradient)]
    return Listing("One step and its gradient, derived from the cell", entries)


def findings(networks: Networks) -> list[Finding]:
    """Return whether it vanishes, whether it explodes, and what the report's term leaves out."""
    tanh, relu, lstm, gru = NETWORKS
    vanishes = unanimous(m.start.verdict == "vanishing" for m in networks[tanh])
    explodes = unanimous(m.start.verdict == "exploding" for m in networks[relu])
    back = len(networks[tanh][0].start.flow) - 1
    gated = max((lstm, gru), key=lambda name: _mean(networks[name], _kept, "").value or 0)
    kept, faded = (_mean(networks[name], _kept, ".2g") for name in (gated, tanh))
    return [
        finding(
            verdict_of(vanishes),
            {True: "The gradient vanishes: {} steps back, the tanh network keeps {} of it.",
             False: "The gradient does not vanish: {} steps back, the tanh network keeps {} of it.",
             None: "The gradient vanishes with some seeds only: {} steps back, the tanh network "
                   "keeps {} of it."}[vanishes],
            back, _mean(networks[tanh], lambda m: _share(m.start), ".2g"),
        ),
        finding(
            verdict_of(explodes),
            {True: "The gradient explodes: with ReLU and Kaiming weights it grows by a factor of "
                   "{} over {} steps, and its norm reaches {} during training.",
             False: "The gradient does not explode: with ReLU and Kaiming weights it grows by a "
                    "factor of {} over {} steps; its norm reaches {} during training.",
             None: "The gradient explodes with some seeds only: with ReLU and Kaiming weights it "
                   "grows by a factor of {} over {} steps; its norm reaches {} during training.",
             }[explodes],
            _mean(networks[relu], lambda m: float(m.start.flow.max() / m.start.flow[-1]), ".2g"),
            back,
            Number(max(max(m.norms) for m in networks[relu]), ".2g",
                   [m.source for m in networks[relu]]),
        ),
        finding(
            "measured",
            "Gates preserve the gradient: after training, the {} has {} of it left at the first "
            "step, the tanh network {}."
            if (kept.value or 0) > (faded.value or 0)
            else "Gates do not preserve the gradient here: after training, the {} has {} of it "
            "left at the first step, the tanh network {}.",
            gated, kept, faded,
        ),
        finding(
            "measured",
            "The report writes only the last step’s term. In the {} it is {} of the sum of all "
            "terms’ norms; the earlier steps contribute the rest.",
            gated, _mean(networks[gated], lambda m: float(m.trained.shares[-1]), ".1%"),
        ),
    ]  # fmt: skip


def _mean(runs: Sequence[Measured], value: Any, form: str) -> Number:
    return mean_of([value(m) for m in runs], form, [m.source for m in runs])


def _share(layer: LayerFlow) -> float:
    """Return the gradient at the first step, relative to the last step's."""
    return float(layer.flow[0] / layer.flow[-1])


def _kept(run: Measured) -> float:
    return _share(run.trained)


def _reach(layers: Sequence[LayerFlow]) -> str:
    """Return after how many steps 1 % is left, as a range over the seeds."""
    steps = sorted(
        {layer.memory for layer in layers}, key=lambda n: float("inf") if n is None else n
    )
    ends = ["never" if n is None else str(n) for n in (steps[0], steps[-1])]
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def _error(result: Result, layer: LayerFlow) -> float:
    """Return the relative difference of the sum over time from autograd's whole gradient."""
    run, model = run_of(result), model_of(result).double()
    x, y = probe_batch("memory", model, config_of(result), run.facts)
    F.mse_loss(model(x.double()), y.double()).backward()
    recurrent: Recurrent = model.recurrent
    direction: Any = recurrent.directions[0]
    squares = [w.grad.square().sum() for w in direction.recurrent.values()]
    norm = float(torch.stack(squares).sum().sqrt())
    return abs(layer.recurrent - norm) / norm


def _draw(figure: Figure, networks: Networks) -> None:
    left, right = figure.subplots(1, 2)
    for colour, (name, runs) in zip(COLOURS, networks.items(), strict=False):
        for nth, run in enumerate(runs):
            for layer, style in ((run.start, "--"), (run.trained, "-")):
                share = (layer.flow / layer.flow[-1]).numpy()
                back = np.arange(len(share))[::-1]
                label = name if style == "-" and nth == 0 else None
                left.semilogy(back, np.where(share > FLOOR, share, np.nan), style, color=colour,
                              linewidth=1.2, label=label)  # fmt: skip
            steps = np.arange(1, len(run.norms) + 1)
            right.semilogy(steps, run.norms, color=colour, linewidth=0.6, alpha=0.7)
    left.axhline(REMEMBERED, color="0.3", linestyle=":", linewidth=1)
    left.set_xlabel("steps back from the last")
    left.set_ylabel("‖∂L/∂state‖, last step = 1")
    right.set_xlabel("training step")
    right.set_ylabel("norm of the whole gradient")
    figure.legend(loc="outside lower center", ncols=2)


_T = "(T)"
_OUTPUT = formula(
    "The gradient of the output weights: the derivative of the loss by the output y hat, times "
    "that of y hat by p, times that of p by the weights.",
    fraction("∂ L", row("∂", indexed("W", "ph"))), "=",
    fraction("∂ L", "∂ ŷ"), fraction("∂ ŷ", "∂ p"), fraction("∂ p", row("∂", indexed("W", "ph"))),
)  # fmt: skip
_RECURRENT = formula(
    "The gradient of the recurrent weights: a sum over all time steps t of the derivative of the "
    "loss by the last state, times the product of each state's derivative by the previous one, "
    "times the derivative of state t by the weights within that step.",
    fraction("∂ L", row("∂", indexed("W", "hh"))), "=",
    bounded("∑", "t=1", "T"),
    fraction("∂ L", row("∂", indexed("h", above=_T))), "(",
    bounded("∏", "k=t+1", "T"),
    fraction(row("∂", indexed("h", above="(k)")), row("∂", indexed("h", above="(k−1)"))),
    ")", fraction(row(indexed("∂", above="+"), indexed("h", above="(t)")),
                  row("∂", indexed("W", "hh"))),
)  # fmt: skip
