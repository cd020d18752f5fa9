"""The configuration of the nodes task."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from plait.errors import InputError
from plait.nn.registry import GraphOptions
from plait.tasks.graph_config import GraphConfig
from plait.training.config import option

SHCHUR: dict[str, dict[str, Any]] = {
    "gcn": {"dropout": 0.8, "penalty": 1e-3},
    "attention": {
        "dropout": 0.6, "coefficient_dropout": 0.3, "penalty": 0.01, "penalty_on": "all",
        "activation": "elu",
    },
}  # fmt: skip
"""Settings of Shchur et al. (2018), by operator."""

LUO: dict[str, dict[str, Any]] = {
    "cora": {"dropout": 0.7, "penalty": 5e-4, "steps": 500},
    "amazon-computers": {"dropout": 0.5, "penalty": 5e-5, "steps": 1000, "norm": "layer"},
}
"""Settings of GCN in Luo et al. (2024), by graph; others have those of Cora.

Their figures are of other splits: on Cora one drawn by chance (20 nodes of each class, 500, 1,000),
on Amazon Computers 60, 20 and 20 %.
"""

PUBLISHED: dict[str, Any] = {"max_norm": 0.0, "features": "as-read", "smooth": False}
"""What all recipes have in common."""

READING = ("source", "target", "weight", "missing")
"""Options that say how the user's own tables are read."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(GraphConfig):
    """Learn on one network, by name or from the user's own tables, with layers of an operator."""

    paths: ClassVar[Sequence[str]] = ("data", "edges", "nodes")
    of_edges: ClassVar[Sequence[str]] = ("nodes", *READING)
    """Options that say more of one's own network."""

    data: str = option(
        "",
        "karate, florentine, les-miserables, davis, digits, cora or amazon-computers. Default: "
        "karate, unless --edges is given.",
    )
    edges: str = option("", "Your own graph: a CSV file with columns source, target (and weight).")
    source: str = option(
        "", "The column of --edges with the sources: its name, or its number from 1 where no "
        "line names them. Default: source.",
    )  # fmt: skip
    target: str = option("", "The column of --edges with the targets. Default: target.")
    weight: str = option(
        "", "The column of --edges with the weights. Default: weight, if there is one."
    )
    nodes: str = option("", "Its nodes: a CSV file with an id and features.")
    missing: str = option(
        "", "Values in --nodes that mean missing, such as -9999 or -9999,999; the mean of the "
        "others is used.",
    )  # fmt: skip
    encoding: str = option("utf-8", "Encoding of your tables: utf-8, cp1252, latin-1, utf-16, ….")
    hidden_size: int = option(64, "Features of a node between the layers.", least=1, below=2**20)
    sample: str = option(
        "", "Train on samples of neighbours: how many at each hop, such as 15,10; all: every one. "
        "Default: the whole graph in every step.",
    )  # fmt: skip
    batch_size: int = option(
        1024, "With --sample: nodes, or edges, of a step, per process.", least=1, below=2**31
    )
    heads: int = option(8, "Heads of attention, between the layers.", least=1)
    dropout: float = option(0.5, "Dropout rate of each layer's inputs.", least=0, below=1)
    lr: float = option(0.01, "Learning rate.", least=0)
    patience: int = option(
        100,
        "Early stopping: steps without a better validation after which to stop; 0: none.",
        least=0,
    )
    validate_every: int = option(5, "Steps between validations; 0: a tenth of all.", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edges and self.data:
            raise InputError("give --data or --edges, not both")
        for name in self.of_edges:
            if getattr(self, name) and not self.edges:
                raise InputError(f"--{name} goes with --edges, a graph of your own")
        if not self.edges and not self.data:
            object.__setattr__(self, "data", "karate")
        self._require_fanouts()

    def _require_fanouts(self) -> None:
        """Refuse numbers of neighbours that are none, and more or fewer than the layers' hops."""
        if not self.sample or self.operator == "dense":
            return
        from plait.nn.neighbours import hops_of  # brings torch, which --help does without

        asked = [text.strip() for text in self.sample.split(",")]
        wrong = next((t for t in asked if t != "all" and not (t.isdecimal() and int(t) > 0)), None)
        if wrong is not None:
            raise InputError(
                "--sample must be numbers of neighbours from 1, or all, such as 15,10; not "
                f"{wrong!r}"
            )
        hops = hops_of([self.graph_options.make()] * self.layers)
        if len(asked) != hops:
            what = f"{self.layers} layers of {self.operator}"
            raise InputError(
                f"--sample {self.sample} is for {len(asked)} hops, and {what} need {hops}: give "
                f"{hops} numbers, such as {','.join(['10'] * hops)}"
            )

    @property
    def fanouts(self) -> tuple[int, ...]:
        """Edges to draw into a node at each hop, −1 for all; empty: no samples, or no graph."""
        if self.operator == "dense" or not self.sample:
            return ()
        return tuple(-1 if t.strip() == "all" else int(t) for t in self.sample.split(","))

    def require_heads(self) -> None:
        """Refuse heads that do not divide the width between the layers, where there is one."""
        if self.layers > 1:
            super().require_heads()

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of `read_labelled_graph` on the columns."""
        from plait.columns import missing_texts  # brings NumPy, which --help does without

        columns = {"source": self.source, "target": self.target, "weight": self.weight}
        missing = missing_texts(self.missing)
        return {**columns, "missing": missing, "encoding": self.encoding}

    @property
    def subject_name(self) -> str:
        """The network's name, or that of the table of its edges."""
        return Path(self.data or self.edges).stem


@dataclass(frozen=True, kw_only=True)
class NodesConfig(NetworkConfig):
    """Label the nodes of one graph.

    Recipes are the published networks alone, on features as they were read.

    Example
    -------
    >>> from plait.tasks.nodes.config import NodesConfig
    >>> NodesConfig.of({"data": "cora"}, "velickovic2018").operator
    'attention'
    """

    architecture: ClassVar[Sequence[str]] = (
        "operator", "hidden_size", "layers", "heads", "k", "skip", "norm", "readout",
    )  # fmt: skip
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "kipf2017": {
            **PUBLISHED,
            "operator": "gcn",
            "hidden_size": 16,
            "steps": 200,
            "patience": 0,
        },
        "velickovic2018": {
            **PUBLISHED,
            "operator": "attention",
            "dropout": 0.6,
            "coefficient_dropout": 0.6,
            "penalty_on": "all",
            "lr": 0.005,
            "activation": "elu",
        },
        "shchur2018": {**PUBLISHED, "patience": 50, "validate_every": 1},
        "feng2020": {
            **PUBLISHED,
            "operator": "propagation",
            "k": 8,
            "hidden_size": 32,
            "layers": 1,
            "readout": "linear",
            "node_dropout": 0.5,
            "consistency": 1.0,
            "penalty_on": "all",
            "patience": 200,
        },
        "luo2024": {
            **PUBLISHED,
            "operator": "gcn",
            "hidden_size": 512,
            "layers": 3,
            "readout": "linear",
            "penalty_on": "all",
            "lr": 0.001,
            "patience": 0,
        },
    }

    exact_recipes: ClassVar[Collection[str]] = tuple(
        recipes
    )  # with --minutes only the steps are chosen

    of_edges: ClassVar[Sequence[str]] = (
        "nodes", "label", "directed", "relation", "edge_features", *READING,
    )  # fmt: skip

    data: str = option(
        "",
        "karate, digits, cora, amazon-computers, or a folder of plait graph import. Default: "
        "karate, unless --edges is given.",
    )
    nodes: str = option("", "Its nodes: a CSV file with an id, features and the label.")
    label: str = option("", "The column of --nodes to learn; it is predicted where it is empty.")
    directed: bool = option(False, "Messages go along --edges only from source to target.")
    relation: str = option(
        "", "With --operator rgcn: the column of --edges with their kinds. Default: relation."
    )  # fmt: skip
    edge_features: str = option(
        "", "With --operator gine or attention: columns of --edges that become features of the "
        "edges, such as length,kind.",
    )  # fmt: skip
    split: Literal["auto", "published", "few", "most"] = option(
        "auto",
        "Nodes to train, validate and test on. published: as others had them; few: 20 and 30 of "
        "each class, and the rest; most: 60, 20 and 20 %. auto: published where there are, few for "
        "other named networks, most for your own.",
    )
    layers: int = option(2, "Layers, the last of which gives the classes.", least=1, below=1001)
    activation: Literal["relu", "elu"] = option("relu", "Activation between the layers.")
    features: Literal["auto", "as-read", "rows", "standardised", "structure"] = option(
        "auto", "Features as they were read; counts (such as words, or marks of 0 and 1) divided "
        "by each node's sum; every column standardised; of nodes without any: their degrees and "
        "positions in the graph. auto: what does best on validation.",
    )  # fmt: skip
    smooth: bool = option(
        True, "Mix the network's predictions, by validation, with Correct & Smooth, label "
        "propagation and linear models.",
    )  # fmt: skip
    skip: Literal["none", "residual", "linear", "initial", "gcnii"] = option(
        "none", "Skip connection, added to a hidden layer's output: its input, if it is as wide; "
        "a matrix times it; or, from the second layer on, a tenth of the first's output. gcnii: "
        "that, with weights near the identity (gcn, gin, dense), for many layers.",
    )  # fmt: skip
    norm: Literal["none", "layer", "batch"] = option(
        "none", "Normalisation of the hidden layers, before the activation."
    )
    readout: Literal["convolution", "linear", "cat", "max"] = option(
        "convolution", "What gives the classes: the last layer; or a matrix times the last layer's "
        "output, the outputs of all layers concatenated, or their maximum (jumping knowledge).",
    )  # fmt: skip
    edge_dropout: float = option(
        0.0, "Share of the edges left out of a training step.", least=0, below=1
    )
    node_dropout: float = option(
        0.0, "Share of the nodes whose features are left out of a training step.", least=0, below=1
    )
    consistency: float = option(
        0.0, "Weight of a consistency loss: four predictions of each node, labelled or not, with "
        "different dropout, are trained to agree.", least=0,
    )  # fmt: skip
    coefficient_dropout: float = option(
        0.0, "Dropout rate of attention's coefficients.", least=0, below=1
    )
    penalty: float = option(5e-4, "L2 penalty: adds penalty/2 · Σ w² to the loss.", least=0)
    penalty_on: Literal["first", "all"] = option(
        "first", "The layers whose weights the penalty is on."
    )
    steps: int = option(1000, "Weight updates, each over all nodes.", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edges and not (self.nodes and self.label):
            missing = "--label, the column that is learnt" if self.nodes else "--nodes and --label"
            raise InputError(f"--edges alone gives nothing to learn; give {missing}")
        if self.edge_features and self.operator not in ("gine", "attention", "dense"):
            raise InputError(
                f"--operator {self.operator} reads no features of edges; give --operator gine or "
                "attention, or leave --edge-features out"
            )
        if self.skip == "gcnii" and self.operator not in ("gcn", "gin", "dense"):
            raise InputError(
                f"--skip gcnii is for operators of one matrix (gcn, gin, dense), not "
                f"{self.operator}; take --skip initial"
            )

    @property
    def edge_columns(self) -> tuple[str, ...]:
        """The columns of `edge_features`."""
        return tuple(name.strip() for name in self.edge_features.split(",") if name.strip())

    @property
    def graph_options(self) -> GraphOptions:
        """What makes the operator."""
        return replace(super().graph_options, dropout=self.coefficient_dropout)

    @classmethod
    def of(cls, options: Mapping[str, Any], recipe: str | None = None) -> Self:
        """Make the configuration; some recipes depend on the operator or on the graph."""
        if recipe == "shchur2018":
            operator = options.get("operator", "gcn")
            options = {**SHCHUR.get(operator, SHCHUR["gcn"]), **options}
        elif recipe == "luo2024":
            options = {**LUO.get(options.get("data", ""), LUO["cora"]), **options}
        return super().of(options, recipe)
