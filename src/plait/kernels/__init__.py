"""The hot functions: recurrences (`reference`, the oracle; `native`, torch's own), graphs."""
