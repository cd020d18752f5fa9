"""A training from its start, or a checkpoint, to its test: it goes on bit for bit."""

import contextlib
import threading

import torch

from plait.training.ablation import scores_with_ablation
from plait.training.events import events_of
from plait.training.learning import Learning
from plait.training.progress import Progress
from plait.training.run import Run
from plait.training.signals import Interrupted, stop_signals
from plait.training.task import Task


def train(task: Task, run: Run, progress: Progress, *, resume: bool = False) -> None:
    """Train to the last step, keep the weights that did best on validation, and test them once.

    A configuration may say when nothing is left to learn (`TrainingConfig.converged`); the step is
    shown and logged with the test, and with `until_converged` it is the last. With `patience` the
    last is the validation that comes so many steps after the best one. A training of so many
    minutes plans its steps again while it runs; each plan is in the log, and in the checkpoint.

    Parameters
    ----------
    task : Task
    run : Run
        The folder, freshly created or, with `resume`, that of a run which was stopped.
    progress : Progress
        Receives what happens.

    Raises
    ------
    Interrupted
        After Ctrl-C or SIGTERM, with a checkpoint written; a second Ctrl-C stops at once.
    InputError
        When the loss is no longer a finite number.
    """
    with run.locked(), torch.random.fork_rng(devices=[]), stop_signals() as stop:
        try:
            Loop(task, run, progress).run(stop, resume)
        finally:
            with contextlib.suppress(OSError):  # after a breakdown, the steps that led to it
                run.flush()


class Loop(Learning):
    """One training, from the start or a checkpoint to its test and its pictures."""

    def run(self, stop: threading.Event, resume: bool) -> None:
        """Train and test, from the start or a checkpoint; end early where `stop` is set."""
        run, now, first = self.run_folder, self.now, self.ranks.first
        if resume and first(self._tested):
            self.progress.notice(first(self._finished))
            self.load_best()
            self._draw()  # it may have been stopped right before
            return
        if resume and not first(lambda: run.is_unbegun):
            self._restore()
        self.progress.start(now.step, now.seconds, run.records())
        with self.progress, events_of(run, self.config, now.step):
            self.learn(stop)
            if not first(self._tested):
                self._test()
            first(self._interpret)
        self._draw()

    def _interpret(self) -> None:
        for scores in self.run_folder.records("test"):
            self.progress.notice(self.task.interpret(scores))

    def _tested(self) -> bool:
        return bool(self.run_folder.records("test"))

    def _finished(self) -> str:
        """Return at which step a run ended."""
        path, steps = self.run_folder.path, self.config.steps
        test = self.run_folder.records("test")[-1]
        last, best = test["step"], test["best_step"]
        if self.config.until_converged and last == test.get("converged_step"):
            return f"{path} is finished: it converged at step {last} of {steps}"
        if last < steps:
            return f"{path} is finished at step {last} of {steps}, the best being step {best}"
        return f"{path} is finished: all {steps} steps are done"

    def _test(self) -> None:
        run, best_step = self.run_folder, self.load_best()
        self.progress.working("scoring the test set")
        try:
            with torch.no_grad():
                scores = self._scores(lambda: scores_with_ablation(self.task))
        except Interrupted:  # in the training of the ablation
            raise Interrupted(self._stopped("before the test was done")) from None
        steps = {"best_step": best_step}
        if self.now.converged_step:
            steps["converged_step"] = self.now.converged_step
        run.log("test", self.now.step, {**steps, **scores})
        run.flush(to_disk=True)
        self.progress.tested(best_step, scores)
