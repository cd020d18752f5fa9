"""The loop, checkpoints, the run folder, progress. Nothing here knows a task in particular."""
