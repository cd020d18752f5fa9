"""Graph or sequence: questions about structure and about order, for networks over either."""
