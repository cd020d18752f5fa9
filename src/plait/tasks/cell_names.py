"""The cells by name, for the help of a command; the names are those of `plait.nn.registry`.

They stand here because the help is printed without importing torch; a test holds the two together.
"""

CELL_NAMES = (
    "rnn, rnn-relu, lstm, lstm-peephole, lstm-layer-norm, lstm-coupled, gru, gru-before, "
    "minimal-gated, min-gru, min-lstm or ind-rnn."
)
"""As a sentence."""
