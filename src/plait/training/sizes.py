"""What the sizes of a configuration will need, known before anything is built or written."""

from dataclasses import fields
from typing import Any

from plait.memory import require_memory
from plait.training.config import TrainingConfig

GATES = {"lstm": 4, "peephole": 4, "gru": 3}
"""About how many gates a cell has, by the beginning of its name; others count as one."""

COPIES = 16
"""Bytes of a weight in training: itself, its gradient, and Adam's two averages."""

LAYER = 50_000
"""Bytes that a layer takes however small it is."""

SAMPLE = 4_000
"""Bytes that a generated patient or scene takes at least."""


def memory_needed(config: TrainingConfig) -> float:
    """Return about how many bytes a training takes, by the sizes of its configuration alone.

    Weights: 16 bytes for each of the L · G · H² recurrent ones and the E · H of an embedding;
    activations: 4 bytes for each of L · H numbers at every step of every sequence of a batch.

    >>> from plait.tasks.text.config import TextConfig
    >>> from plait.training.sizes import memory_needed
    >>> memory_needed(TextConfig(hidden_size=1024, layers=1, embedding_size=1, cell="lstm")) > 2**26
    True
    """
    layers = max(_size(config, "layers"), _size(config, "graph_layers"), 1.0)
    hidden, embedding = max(_size(config, "hidden_size"), 1.0), _size(config, "embedding_size")
    cell = str(getattr(config, "cell", ""))
    gates = next((count for name, count in GATES.items() if cell.startswith(name)), 1)
    weights = layers * gates * hidden**2 + embedding * hidden
    steps = sum(_size(config, name) for name in ("length", "history", "horizon", "nodes"))
    longest = max([steps, 1.0, *map(float, getattr(config, "other_lengths", ()))])
    sequences = max(_size(config, "batch_size"), 1.0)
    activations = sequences * longest * max(layers * hidden, embedding, 2.0)
    samples = _size(config, "patients") + _size(config, "scenes")
    heads = _size(config, "heads")
    return COPIES * weights + LAYER * layers + 4 * activations + SAMPLE * samples + 4 * heads


def require_sizes(config: TrainingConfig) -> None:
    """Refuse, with `InputError`, sizes that need more memory than the machine has.

    The message names the option that is furthest above its default, and the bytes.
    """
    defaults: dict[str, Any] = {f.name: f.default for f in fields(config)}
    sizes = [name for name in defaults if _is_size(config, name)]
    most = max(sizes, key=lambda name: _size(config, name) / max(defaults[name], 1), default="")
    option = f"--{most.replace('_', '-')} {getattr(config, most)}" if most else "this configuration"
    require_memory(memory_needed(config), option, "make it smaller")


SIZES = (
    "layers", "graph_layers", "hidden_size", "embedding_size", "length", "history", "horizon",
    "batch_size", "nodes", "patients", "scenes", "heads",
)  # fmt: skip


def _is_size(config: Any, name: str) -> bool:
    return name in SIZES and isinstance(getattr(config, name), int)


def _size(config: Any, name: str) -> float:
    value = getattr(config, name, 0)
    return float(value) if isinstance(value, int) else 0.0
