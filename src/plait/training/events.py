"""`--log tensorboard`: what a run logs, also as events that TensorBoard reads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plait.errors import InputError
from plait.terminal import printable
from plait.training.ranks import current_ranks

NAMES = {"train": "train", "valid": "validation", "test": "test"}
"""The group in TensorBoard of each kind of record that has scores."""


class Events:
    """An event file in a run folder.

    Scores are scalars under `train/`, `validation/` and `test/`, norms of gradients under
    `gradients/`, samples texts; the configuration is a session of the HParams tab, with the test's
    scores as its metrics. The runs under one folder, as of a grid, are one experiment there.

    Parameters
    ----------
    folder : Path
    hyperparameters : mapping
    step : int
        The step from which training goes on: what earlier event files have after it is dropped by
        whoever reads them.
    """

    def __init__(self, folder: Path, hyperparameters: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        known = {k: v for k, v in hyperparameters.items() if isinstance(v, int | float | str)}
        self.writer = SummaryWriter(str(folder), purge_step=step + 1)
        _, begin, self.end = hparams(known, {})
        self._write(begin)

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write a record of the log; what is neither a number nor a sample is left out."""
        if kind == "sample":
            text = "".join(f"    {line}\n" for line in printable(values["text"]).splitlines())
            self.writer.add_text("sample", text, step)  # four spaces: Markdown as it stands
        elif kind in NAMES:
            for name, value in values.items():
                if type(value) in (int, float) and name != "seconds":
                    self.writer.add_scalar(f"{NAMES[kind]}/{name}", value, step)
        if kind == "test":
            self._write(self.end)

    def log_gradients(self, step: int, model: nn.Module) -> None:
        """Write the norm of every parameter's gradient, as it is now."""
        named = [(n, p.grad) for n, p in model.named_parameters() if p.grad is not None]
        norms = torch.stack([grad.norm() for _, grad in named]).tolist()
        for (name, _), norm in zip(named, norms, strict=True):
            self.writer.add_scalar(f"gradients/{name}", norm, step)

    def flush(self) -> None:
        """Write out what was logged."""
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()

    def _write(self, summary: Any) -> None:
        assert self.writer.file_writer is not None
        self.writer.file_writer.add_summary(summary)


def require_log(config: Any) -> None:
    """Refuse, with `InputError`, a log whose package is not installed."""
    if config.log == "tensorboard":
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"--log tensorboard: {error}; install it: pip install 'plait[log]'"
            ) from None


@contextmanager
def events_of(run: Any, config: Any, step: int) -> Iterator[None]:
    """Let a run's log go to TensorBoard as well for a block of code, where options ask for it.

    Of several processes that train one model the first writes.

    Parameters
    ----------
    run : Run
    config : TrainingConfig
    step : int
        The step from which training goes on.
    """
    if config.log != "tensorboard" or not current_ranks().is_first:
        yield
        return
    require_log(config)
    hyperparameters = {"task": run.task, **run.config}
    run.events = Events(run.path, hyperparameters, step)
    try:
        yield
    finally:
        run.events.close()
        run.events = None
