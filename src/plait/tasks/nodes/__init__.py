"""Labels for the nodes of one graph, from the labels of a few."""
