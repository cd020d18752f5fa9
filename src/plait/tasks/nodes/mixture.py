"""The answer of a trained network mixed with those of spreading and of linear models."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import scipy.optimize
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.graph_data.labelled_graph import NodeSplit
from plait.nn.graph import Graph
from plait.tasks.nodes.linear import ALPHAS
from plait.tasks.nodes.spreading import correct_and_smooth

PULL = 4.0
"""How strongly weights are drawn to equal ones: as much as a few validation nodes could say."""

LEAST = 1e-6
"""A candidate's probability at least, so that none is alone in ruling a class out."""

POWERS = tuple(2 ** (k / 4) for k in range(-8, 21))
"""What calibration may raise probabilities to, or multiply them by: from 1/4 to 32."""


def choose_mixture(
    candidates: Mapping[str, Tensor],
    labels: Tensor,
    valid: Tensor,
    counts: Tensor | None = None,
) -> dict[str, float]:
    """Choose weights of candidates by the probabilities of the validation nodes' labels.

    min over w ≥ 0 of −Σ_n c_n ln p_n(y_n) + 4 Σ_m (w_m − 1/M)²,  p_n = softmax(Σ_m w_m ln p_mn)

    A weighted product of the M candidates' probabilities. The problem is convex. Few validation
    nodes leave the weights near 1/M each, the plain geometric mean, many may choose a single one.

    Source: Heskes (1998), Selecting weighting factors in logarithmic opinion pools.

    Parameters
    ----------
    candidates : mapping of str to Tensor `[N, classes]`
        Probabilities, calibrated (see `calibrated`).
    labels : Tensor `[N]`
    valid : Tensor `[n]`
        Nodes.
    counts : Tensor `[n]`
        How much each of these counts; None: all alike. The sum has no meaning.

    Returns
    -------
    dict
        The weight w of each candidate.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.nodes.mixture import choose_mixture
    >>> a = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    >>> b = torch.tensor([[0.4, 0.6], [0.6, 0.4], [0.4, 0.6]])
    >>> weights = choose_mixture({"a": a, "b": b}, torch.tensor([0, 1, 1]), torch.arange(3))
    >>> {name: round(weight, 2) for name, weight in weights.items()}
    {'a': 0.66, 'b': 0.48}
    """
    logs = np.stack([_logs(p[valid]).numpy() for p in candidates.values()])  # [M, n, classes]
    truth, share = labels[valid].numpy(), np.ones(len(valid))
    if counts is not None:
        share = counts.double().numpy() * len(valid) / float(counts.sum())
    of_label = np.take_along_axis(logs, truth[None, :, None], 2)[..., 0]  # [M, n]
    equal = np.full(len(logs), 1 / len(logs))

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = np.tensordot(w, logs, 1)
        top = z.max(1)
        e = np.exp(z - top[:, None])
        total = e.sum(1)
        off = (share * (np.log(total) + top - w @ of_label)).sum() + PULL * ((w - equal) ** 2).sum()
        expected = np.einsum("nc,mnc->mn", e / total[:, None], logs)
        return off, (share * (expected - of_label)).sum(1) + 2 * PULL * (w - equal)

    bounds = [(0.0, None)] * len(logs)
    found = scipy.optimize.minimize(loss, equal, jac=True, method="L-BFGS-B", bounds=bounds)
    return dict(zip(candidates, found.x.tolist(), strict=True))


def mixed(candidates: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the log probabilities of a mixture, float64: softmax of Σ_m w_m ln p_m.

    >>> import torch
    >>> from plait.tasks.nodes.mixture import mixed
    >>> both = {"a": torch.tensor([[0.8, 0.2]]), "b": torch.tensor([[0.5, 0.5]])}
    >>> mixed(both, {"a": 0.5, "b": 0.5}).exp()
    tensor([[0.6667, 0.3333]], dtype=torch.float64)
    """
    terms = [weight * _logs(candidates[name]) for name, weight in weights.items()]
    return torch.stack(terms).sum(0).log_softmax(-1)


def _logs(p: Tensor) -> Tensor:
    return p.double().clamp(min=LEAST).log()


def calibrated(p: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """Return p^b or e^(b p), divided by its sum, whichever makes labels of `valid` likeliest.

    The first is for probabilities of a network (Guo et al. 2017, section 4.2), the second for the
    scores of a linear model. One further node is counted whose label is drawn by chance, so that
    few nodes, all right, do not make b as large as it can be.
    """
    p, truth = p.double(), labels[valid]

    def likelihood(form: Tensor, b: float) -> float:
        logs = (b * form[valid]).log_softmax(1)
        return float(logs.gather(1, truth[:, None]).sum() + logs.mean())

    forms = (p.clamp(min=1e-12).log(), p)
    candidates = [(form, b) for form in forms for b in POWERS]
    form, b = max(candidates, key=lambda one: likelihood(*one))
    return (b * form).softmax(1)


def log_likelihood(p: Tensor, labels: Tensor, nodes: Tensor) -> float:
    """Return the mean log probability of some nodes' labels."""
    return -F.nll_loss(_logs(p[nodes]), labels[nodes]).item()


def smoothed(
    probabilities: Tensor, graph: Graph, labels: Tensor, splits: NodeSplit
) -> dict[str, Tensor]:
    """Return a network's probabilities after Correct & Smooth, for each of `ALPHAS`, by name."""
    return {
        f"network smoothed by {alpha:g}": to_probabilities(
            correct_and_smooth(graph, probabilities, labels, splits.train, alpha)
        )
        for alpha in ALPHAS
    }


def to_probabilities(scores: Tensor) -> Tensor:
    """Clip scores at 0 and divide each row by its sum, float64; rows without any are uniform.

    >>> import torch
    >>> from plait.tasks.nodes.mixture import to_probabilities
    >>> to_probabilities(torch.tensor([[3.0, 1.0], [-1.0, 0.0]]))
    tensor([[0.7500, 0.2500],
            [0.5000, 0.5000]], dtype=torch.float64)
    """
    p = scores.double().clamp(min=0)
    p = torch.where(p.sum(1, keepdim=True) > 0, p, 1.0)
    return p / p.sum(1, keepdim=True)


def describe_mixture(weights: Mapping[str, float]) -> str:
    """Return a mixture in words: shares of the weights, from 1 % on, the largest first.

    >>> from plait.tasks.nodes.mixture import describe_mixture
    >>> describe_mixture({"network": 0.8, "smoothed by 0.5": 0.1, "smoothed by 0.9": 0.1})
    '80% network + 20% smoothed'
    """
    total, shares = sum(weights.values()) or 1, defaultdict[str, float](float)
    for name, weight in weights.items():
        shares[name.split(" by ")[0]] += weight / total
    largest = sorted(shares.items(), key=lambda one: -one[1])
    return " + ".join(f"{share:.0%} {name}" for name, share in largest if share > 0.01)
