"""The sizes of everything: the full study has the report's own, the quick one less."""

from typing import Any

_MEMORY: dict[str, Any] = {
    "options": {"eval_lengths": "8,10,12"},  # the rest is the recipe "report"
    "lengths": (4, 5, 6),
    "seeds": (2019, 2020, 2021),
}
_TEXT: dict[str, Any] = {"options": {}, "seeds": (0, 1, 2), "texts": 8, "length": 1000}

FULL: dict[str, dict[str, Any]] = {
    "gradients": {
        "options": {"length": 100, "hidden_size": 128, "steps": 2000, "max_norm": 1.0},
        "seeds": (0, 1),
    },
    "gates": {"memory": _MEMORY, "text": _TEXT},
    "memory": _MEMORY,
    "text": _TEXT,
    "fairy_tales": {"options": {}, "seeds": (0, 1, 2), "texts": 8, "length": 1000},
    "graphs": {
        "options": {"hidden_size": 32, "heads": 4}, "seeds": (0, 1, 2),
        "nodes": (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000),
    },
    "applications": {
        "large": True, "seeds": (0, 1, 2, 3, 4), "communities": {}, "connections": {},
        "relations": {},
    },
    "structure": {
        "options": {"steps": 1000, "lr": 0.005}, "neighbours": {"nodes": 16},
        "order": {"nodes": 64}, "near": {"nodes": 16},
        "seeds": (0, 1, 2), "layers": (1, 2, 4, 8), "large": True,
        "stacked": {"length": 60, "hidden_size": 64, "steps": 1000, "validate_every": 100},
        "layered": {},
    },
    "sequences_over_graphs": {
        "waves": {"steps": 1500, "scale": "all", "batch_size": 16},
        "cells": ("rnn", "lstm", "lstm-peephole", "gru", "gru-before"), "wave_seeds": (0, 1),
        "speeds": {}, "digits": {},
        "words": {
            "layers": 1, "length": 20, "batch_size": 20, "hidden_size": 200, "embedding_size": 200,
            "steps": 2500, "lr": 0.005, "schedule": "cosine", "warmup": 50,
        },
        "word_seeds": (0, 1), "visits": {}, "seeds": (0, 1, 2), "large": True,
    },
}  # fmt: skip

_QUICK_MEMORY: dict[str, Any] = {
    "options": {
        "steps": 600, "eval_lengths": "8,10,12", "hidden_size": 64, "batch_size": 64, "lr": 0.002,
        "validate_every": 10,
    },
    "lengths": (4, 5, 6),
    "seeds": (2019, 2020, 2021),
}  # fmt: skip
_QUICK_TEXT: dict[str, Any] = {
    "options": {"steps": 900, "validate_every": 150, "lr": 0.004, "batch_size": 32},
    "seeds": (0, 1),
    "texts": 8,
    "length": 600,
}

QUICK: dict[str, dict[str, Any]] = {
    "gradients": {
        "options": {
            "length": 50, "hidden_size": 64, "batch_size": 64, "steps": 300, "max_norm": 1.0,
            "lr": 0.003, "validate_every": 100,
        },
        "seeds": (0, 1),
    },
    "gates": {"memory": _QUICK_MEMORY, "text": _QUICK_TEXT},
    "memory": _QUICK_MEMORY,
    "text": _QUICK_TEXT,
    "fairy_tales": {
        "options": {"steps": 600, "validate_every": 150, "lr": 0.004, "batch_size": 32},
        "seeds": (0, 1),
        "texts": 8,
        "length": 600,
    },
    "graphs": {
        "options": {"hidden_size": 32, "heads": 4, "steps": 200}, "seeds": (0, 1, 2),
        "nodes": (100, 300, 1000, 3000, 10_000, 30_000, 100_000),
    },
    "applications": {
        "large": False, "seeds": (0, 1, 2), "communities": {"steps": 200, "hidden_size": 16},
        "connections": {"steps": 100, "hidden_size": 32},
        "relations": {"scenes": 200, "steps": 100, "hidden_size": 32},
    },
    "structure": {
        "options": {"steps": 200, "lr": 0.005, "validate_every": 100}, "neighbours": {"nodes": 12},
        "order": {"nodes": 48}, "near": {"nodes": 12},
        "seeds": (0, 1, 2), "layers": (1, 2, 4), "large": False,
        "stacked": {
            "length": 30, "hidden_size": 32, "embedding_size": 16, "batch_size": 32, "steps": 150,
            "validate_every": 50,
        },
        "layered": {"steps": 200, "hidden_size": 16},
    },
    "sequences_over_graphs": {
        "waves": {
            "steps": 60, "scale": "all", "hidden_size": 16, "batch_size": 16, "lr": 0.01,
            "test": 0.05, "validation": 0.03, "validate_every": 60,
        },
        "cells": ("rnn", "lstm", "gru"), "wave_seeds": (0,),
        "speeds": {},
        "digits": {
            "frame": 16, "hidden_size": 24, "layers": 1, "steps": 200, "validate_every": 100,
        },
        "words": {
            "layers": 1, "length": 20, "batch_size": 20, "hidden_size": 48, "embedding_size": 48,
            "vocabulary": 1000, "steps": 200, "lr": 0.01, "schedule": "cosine", "warmup": 20,
            "validate_every": 200,
        },
        "word_seeds": (0,), "visits": {"patients": 200, "steps": 80, "lr": 0.01, "hidden_size": 32},
        "seeds": (0, 1, 2), "large": False,
    },
}  # fmt: skip

QUICK_SECONDS = {
    "memory": 1.2, "text": 11.4, "nodes": 1.3, "links": 3.3, "scenes": 4.0, "structure": 1.0,
    "forecast": 4.3, "digits": 2.8, "visits": 4.0,
}  # fmt: skip
"""What a run of the quick study, with its share of the page, took on two cores of an AMD EPYC."""
