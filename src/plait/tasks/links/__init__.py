"""Recommend connections between the nodes of a graph that are not there yet."""
