"""The hot functions: recurrences (`reference`, the oracle; torch's; our own), graphs."""
