"""Compare the answer of `plait train nodes` with every baseline, on graphs of different kinds.

    python benchmarks/nodes_robust.py                     all graphs, three seeds
    python benchmarks/nodes_robust.py roles digits        some of them
    python benchmarks/nodes_robust.py --minutes 1         sizes chosen by validation in a minute

Generated graphs are written as tables and read as a user's are. A seed decides the split, the
initial weights and what is generated. A row of the table: the answer, the network alone, the best
of the baselines by its mean on the test nodes (in its favour; linear models of a graph without
features are there for some seeds only, and then left out), the difference, and the noise of
the split: the standard error of an accuracy on so many test nodes. `worse` marks a difference
below minus the noise. A line a seed goes to standard error.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pandas as pd

import plait
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.data import labelled_graph
from plait.tasks.nodes.splits import split_nodes, split_of

Tables = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Edges [E, 2], labels [N], features [N, F] or None."""


def blocks(
    rng: np.random.Generator,
    nodes: int,
    classes: int,
    degree: float,
    alike: float,
    apart: int = 0,
    shares: list[float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw edges whose ends are `apart` classes from each other in a share `alike` of cases."""
    labels = rng.choice(classes, nodes, p=shares)
    members = [np.flatnonzero(labels == k) for k in range(classes)]
    source = rng.integers(nodes, size=round(nodes * degree / 2))
    planned = (labels[source] + apart) % classes
    target = rng.integers(nodes, size=len(source))
    for k, of in enumerate(members):
        chosen = (planned == k) & (rng.random(len(source)) < alike)
        target[chosen] = rng.choice(of, int(chosen.sum()))
    edges = np.unique(np.stack([source, target], 1)[source != target], axis=0)
    return edges, labels


def signals(rng: np.random.Generator, labels: np.ndarray, width: int, size: float) -> np.ndarray:
    """Return a mean of its class for every node, of this size, plus noise of variance 1."""
    means = rng.standard_normal((labels.max() + 1, width))
    means *= size / np.linalg.norm(means, axis=1, keepdims=True)
    return means[labels] + rng.standard_normal((len(labels), width))


def communities(rng: np.random.Generator) -> Tables:
    edges, labels = blocks(rng, 1000, 5, 8, 0.6)
    return edges, labels, None


def friends_with_features(rng: np.random.Generator) -> Tables:
    edges, labels = blocks(rng, 1000, 5, 4, 0.6)
    return edges, labels, signals(rng, labels, 16, 1.5)


def opposites(rng: np.random.Generator) -> Tables:
    edges, labels = blocks(rng, 2000, 4, 6, 0.8, apart=1)
    return edges, labels, signals(rng, labels, 16, 1.5)


def opposites_without_features(rng: np.random.Generator) -> Tables:
    edges, labels = blocks(rng, 2000, 2, 8, 0.8, apart=1)
    return edges, labels, None


def edges_by_chance(rng: np.random.Generator) -> Tables:
    edges, labels = blocks(rng, 1500, 4, 6, 0.0)
    return edges, labels, signals(rng, labels, 16, 2.0)


def rare_classes(rng: np.random.Generator) -> Tables:
    edges, labels = blocks(rng, 1500, 3, 6, 0.6, shares=[0.85, 0.1, 0.05])
    return edges, labels, signals(rng, labels, 16, 1.5)


def roles(rng: np.random.Generator) -> Tables:
    """The label is the third of the nodes by degree, which a node is in."""
    graph = networkx.barabasi_albert_graph(1000, 3, seed=int(rng.integers(2**31)))
    degree = np.array([d for _, d in graph.degree()]) + rng.random(1000)
    return np.array(graph.edges), np.digitize(degree, np.quantile(degree, [1 / 3, 2 / 3])), None


def many(rng: np.random.Generator) -> Tables:
    edges, labels = blocks(rng, 100_000, 10, 10, 0.5)
    return edges, labels, signals(rng, labels, 16, 1.0)


GENERATED: dict[str, Callable[[np.random.Generator], Tables]] = {
    "communities": communities,
    "friends": friends_with_features,
    "opposites": opposites,
    "opposites-bare": opposites_without_features,
    "chance": edges_by_chance,
    "rare": rare_classes,
    "roles": roles,
    "many": many,
}
NAMED: dict[str, Mapping[str, Any]] = {
    "karate": {"data": "karate", "split": "most"},
    "digits": {"data": "digits"},
    "cora": {"data": "cora"},
    "amazon-computers": {"data": "amazon-computers"},
}
SUFFIX = "_accuracy"
OWN = ("answer", "network", "tested")
"""What is no baseline."""


def tables(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Write a generated graph as tables, and return the options that name them."""
    edges, labels, x = GENERATED[name](np.random.default_rng(seed))
    pd.DataFrame(edges, columns=["source", "target"]).to_csv(folder / "edges.csv", index=False)
    nodes = pd.DataFrame({"id": range(len(labels)), "label": [f"c{k}" for k in labels]})
    if x is not None:
        columns = {f"x{k}": column.round(4) for k, column in enumerate(x.T)}
        nodes = pd.concat([nodes, pd.DataFrame(columns)], axis=1)
    nodes.to_csv(folder / "nodes.csv", index=False)
    return {
        "edges": str(folder / "edges.csv"),
        "nodes": str(folder / "nodes.csv"),
        "label": "label",
    }


def measure(name: str, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Train once; return the test scores, and the number of test nodes."""
    with tempfile.TemporaryDirectory() as folder:
        of = NAMED[name] if name in NAMED else tables(name, seed, Path(folder))
        began = time.monotonic()
        run = plait.train("nodes", out=Path(folder) / "run", seed=seed, threads=1, **of, **options)
        (scores,) = run.records("test")
        baselines = {k.removesuffix(SUFFIX): v for k, v in scores.items()
                     if k.endswith(SUFFIX) and k not in ("network_accuracy", "balanced_accuracy",
                                                         "dense_balanced_accuracy")}  # fmt: skip
        baselines["prior"] = scores["prior"]
        found = {"answer": scores["accuracy"], "network": scores["network_accuracy"], **baselines}
        text = ", ".join(f"{k} {100 * v:.1f}" for k, v in found.items())
        took = time.monotonic() - began
        print(f"{name} seed {seed}: {text}; {took:.0f} s", file=sys.stderr, flush=True)
        return {**found, "tested": tested(NodesConfig.from_dict(run.config))}


def tested(config: NodesConfig) -> int:
    """Return the number of nodes that a run was tested on."""
    network = labelled_graph(config)
    return len(split_nodes(network, split_of(config, network), config.seed).test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graphs", nargs="*", default=[*GENERATED, *NAMED])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=0.0)
    chosen = parser.parse_args()
    options = {"minutes": chosen.minutes} if chosen.minutes else {}
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    print(f"test accuracy, %, means over {len(seeds)} seeds")
    print("| graph | answer | network | best baseline | difference | noise | |")
    print("|---|---|---|---|---|---|---|")
    for name in chosen.graphs:
        found = [measure(name, seed, options) for seed in seeds]
        shared = [k for k in found[0] if all(k in f for f in found)]
        mean = {k: 100 * statistics.fmean(f[k] for f in found) for k in shared}
        p = mean["answer"] / 100
        noise = 100 * (p * (1 - p) / found[0]["tested"]) ** 0.5
        best = max((k for k in mean if k not in OWN), key=mean.__getitem__)
        difference = mean["answer"] - mean[best]
        print(
            f"| {name} | {mean['answer']:.1f} | {mean['network']:.1f} | {mean[best]:.1f} {best} "
            f"| {difference:+.1f} | {noise:.1f} | {'worse' if difference < -noise else ''} |",
            flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
