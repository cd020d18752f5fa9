"""What comes next at every node of a network, from what was measured there so far."""
