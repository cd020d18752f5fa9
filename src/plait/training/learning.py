"""Steps, validations and checkpoints of one training, up to the test; `loop` runs them."""

import contextlib
import math
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from plait.errors import InputError
from plait.training.ahead import Ahead
from plait.training.checkpoint import (
    load_tensors,
    load_weights,
    named_part,
    numbered_part,
    pack_optimizer,
    unpack_optimizer,
)
from plait.training.optimizer import make_optimizer
from plait.training.pacing import SHORT, Clock, Parts
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.ranks import current_ranks
from plait.training.run import Run
from plait.training.schedule import learning_rate, schedule_share
from plait.training.selection import BestWeights
from plait.training.signals import Interrupted
from plait.training.state import TrainingState
from plait.training.task import Task


class Learning:
    """What a training needs, and what a step, a validation and a save do."""

    def __init__(self, task: Task, run: Run, progress: Progress) -> None:
        self.task, self.run_folder, self.progress = task, run, progress
        self.ranks = current_ranks()
        self.config = config = task.config
        self.model = task.model
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(self.model, config)
        self.average = [p.detach().clone() for p in self.parameters] if config.average else []
        self.validate_every = config.validate_every or max(1, config.steps // 10)
        self.milestones, self.samples = Parts(config.milestones), Parts(3)
        validations = -(-config.steps // self.validate_every)
        self.best = BestWeights(task.lower_is_better, min(config.smoothing, validations))
        self.now = TrainingState(task.start(), self.best.worst)
        self.batches: Callable[[int], Any] = task.batch
        self.clock: Clock | None = None
        if config.minutes and task.pace is not None:
            self.now.pace, self.now.steps = task.pace, config.steps

    def learn(self, stop: threading.Event) -> None:
        """Train to the last step, or until `stop` is set, which raises `Interrupted`."""
        device = self.parameters[0].device.type
        if not self.task.prepares_ahead or (device == "cpu" and torch.get_num_threads() == 1):
            self._learn(stop)
            return
        with Ahead(self.task.batch, self.config.steps) as self.batches:
            self._learn(stop)

    def _learn(self, stop: threading.Event) -> None:
        now = self.now
        if not now.step:
            if self.ranks.count > 1:  # other processors may have rounded initial weights otherwise
                weights, _ = self.ranks.first_with_tensors(lambda: (self.model.state_dict(), None))
                self.model.load_state_dict(weights)
            self._save()  # so that a run can be resumed whatever stops it, and whenever
        began = saved = time.monotonic()
        earlier = now.seconds
        if now.pace is not None:
            seconds = 60 * self.config.minutes - now.pace.measuring
            if seconds >= SHORT:
                self.clock = Clock(now.pace, seconds, now.step, now.seconds)
        while not self._over():
            self.step()
            now.seconds = earlier + time.monotonic() - began
            if now.step % self.validate_every == 0 or now.step == self.config.steps:
                self._timed("validation", self.validate)
            if self.milestones.reached(now.step, self.config.steps) or self._over():
                self._timed("milestone", self.milestone)
            due = time.monotonic() - saved >= self.config.save_every
            due, stopped, now.seconds = self.ranks.largest(due, stop.is_set(), now.seconds)
            if due or stopped or self._over():
                self._save()
                saved = time.monotonic()
            if stopped and not self._over():
                self._draw()
                raise Interrupted(self._stopped(f"at step {now.step}"))
            if self.clock is not None and not self._over():
                self._plan_again(self.clock, earlier + time.monotonic() - began)

    def _timed(self, name: str, call: Callable[[], None]) -> None:
        call() if self.clock is None else self.clock.time(name, call)

    def _plan_again(self, clock: Clock, elapsed: float) -> None:
        """Change the number of steps, now and then, to what fits in the time that is left."""
        now, config = self.now, self.config
        [elapsed] = self.ranks.largest(elapsed)  # all processes plan alike
        if not clock.due(elapsed):
            return
        milestones = config.milestones - self.milestones.done
        left = clock.steps_left(now.step, elapsed, self.validate_every, milestones)
        [left] = self.ranks.largest(left)
        now.since = (now.step, schedule_share(config, now.step, now.since))
        self._set_steps(now.step + max(1, round(left)))
        self.run_folder.log("plan", now.step, {"steps": now.steps, "share": now.since[1]})

    def _set_steps(self, steps: int) -> None:
        """Let the training have so many steps in all."""
        self.now.steps = self.progress.steps = self.run_folder.config["steps"] = steps
        self.config = self.task.config = replace(self.config, steps=steps)

    def _over(self) -> bool:
        """Return whether all steps are made, or those until it converged or patience ran out."""
        now, config = self.now, self.config
        converged = config.until_converged and now.converged_step > 0
        validated = now.step - now.step % self.validate_every
        in_vain = config.patience > 0 and validated - now.best_step >= config.patience
        return now.step >= config.steps or converged or in_vain

    def _stopped(self, where: str) -> str:
        """Return where a run was stopped, and how to resume it."""
        path, count = self.run_folder.path, self.ranks.count
        how = f" (again in {count} processes)" if count > 1 else ""
        resume = f"plait resume {shlex.quote(str(path))}"
        return f"stopped {where}, saved in {path}; to go on: {resume}{how}"

    def step(self) -> None:
        """Make one weight update."""
        now = self.now
        now.step += 1
        rank = self.ranks.rank if self.ranks.count > 1 and self.task.splits_batches else 0
        seed_all(self.config.seed, now.step, rank)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, now.step, now.since)
        if not self.model.training:
            self.model.train()
        self.optimizer.zero_grad()
        batch = self.batches(now.step)
        with self._in_precision():
            loss, scores, now.carry = self.task.loss(self.model, batch, now.carry)
        loss.backward()
        means = torch.stack([loss.detach(), *scores.values()])
        if self.ranks.count > 1:
            terms = self.task.terms(batch)
            means = self.ranks.average_gradients(self.parameters, means, terms)
        if self.run_folder.events is not None and now.step % self.validate_every == 0:
            self.run_folder.events.log_gradients(now.step, self.model)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.max_norm or math.inf)
        values = torch.cat([means[:1], norm[None], means[1:]]).tolist()
        record = dict(zip(("loss", "gradient_norm", *scores), values, strict=True))
        for name in ("loss", "gradient_norm"):
            self._require_finite(name, record[name])
        self.optimizer.step()
        if self.average:
            self._update_average()
        self.run_folder.log("train", now.step, record)
        self.progress.step(now.step, record)

    def _in_precision(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which a loss is computed in the type that was asked for."""
        if self.config.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.parameters[0].device.type, getattr(torch, self.config.precision))

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average towards the weights, fast at first: min(factor, (1 + t) / (10 + t))."""
        factor = min(self.config.average, (1 + self.now.step) / (10 + self.now.step))
        for a, p in zip(self.average, self.parameters, strict=True):
            a.lerp_(p, 1 - factor)

    def _require_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise self._breakdown(f"{name} is {value}")

    def _breakdown(self, what: str) -> InputError:
        return InputError(
            f"training diverged: {what} at step {self.now.step}; what was saved before is kept "
            f"in {self.run_folder.path}; try a smaller --lr or --max-norm"
        )

    def _scores(self, score: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Score; `InputError` where weights or scores are no longer finite numbers."""
        for name, p in self.model.named_parameters():
            if not p.isfinite().all():
                raise self._breakdown(f"a weight of {name} is not a finite number")
        try:
            scores = score()
            return self.ranks.first(lambda: scores)
        except ValueError as error:  # of scikit-learn, which takes no such scores
            if isinstance(error, InputError) or not re.search(r"NaN|infinity", str(error)):
                raise
            raise self._breakdown("scores are not finite numbers") from None

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Put the model in evaluation mode, with its averaged weights where they are kept."""
        self.model.eval()
        trained = [p.detach().clone() for p in self.parameters] if self.average else []
        try:
            with torch.no_grad():
                for p, a in zip(self.parameters, self.average, strict=False):
                    p.copy_(a)
                yield
        finally:
            with torch.no_grad():
                for p, w in zip(self.parameters, trained, strict=False):
                    p.copy_(w)

    def validate(self) -> None:
        """Score the validation set, and keep the weights if they are the best so far."""
        now, task = self.now, self.task
        if self.ranks.count > 1:
            self._share_buffers()
        with self._evaluating():
            scores = self._scores(task.validate)
            score = scores[task.monitor]
            self._require_finite(task.monitor, score)
            if self.best.update(now, score, scores.get("loss", math.inf)):
                now.best_step = now.step
                run = self.run_folder
                run.save_model(run.model_path, self.model.state_dict(), now.step)
        self.run_folder.log("valid", now.step, {"seconds": now.seconds, **scores})
        self.run_folder.flush()
        self.progress.validated(now.step, scores, best=now.best_step == now.step)
        if not now.converged_step and self.config.converged(scores):
            now.converged_step = now.step
            self.progress.notice(f"converged at step {now.step}")

    def _share_buffers(self) -> None:
        """Take over the first process's buffers: running statistics are of a process's batches."""
        own = dict(self.model.named_buffers())
        if own:
            found, _ = self.ranks.first_with_tensors(lambda: (own, None))
            for name, buffer in own.items():
                buffer.copy_(found[name])

    def milestone(self) -> None:
        """Keep the weights, and show a sample where one is due."""
        now, run = self.now, self.run_folder
        with self._evaluating():
            run.save_model(run.kept_path(now.step), self.model.state_dict(), now.step)
            shown = self.samples.reached(now.step, self.config.steps) or self._over()
            text = self.ranks.first(lambda: self.task.sample(now.step)) if shown else ""
        if text:
            run.log("sample", now.step, {"text": text})
            run.write_samples()
            self.progress.sampled(now.step, text)

    def _draw(self) -> None:
        path = self.run_folder.path / "curves.png"
        self.ranks.first(lambda: self.task.draw(self.run_folder.records(), path))

    def _save(self) -> None:
        """Write a checkpoint; the log is on the disk before it."""
        now, run = self.now, self.run_folder
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"optimizer.{k}": v for k, v in pack_optimizer(self.optimizer).items()}
        for rank, carry in enumerate(self.ranks.gather_tensors(now.carry)):
            tensors |= {f"{_carry(rank)}.{i}": v for i, v in enumerate(carry)}
        tensors |= {f"average.{i}": v for i, v in enumerate(self.average)}
        run.flush(to_disk=True)
        run.save_checkpoint(tensors, now.facts())
        if now.steps:
            run.save_config()

    def _restore(self) -> None:
        now, run = self.now, self.run_folder
        tensors, (facts, damaged) = self.ranks.first_with_tensors(self._checkpoint)
        for notice in damaged:
            self.progress.notice(f"{notice}; going on from the checkpoint of step {facts['step']}")
        load_weights(self.model, named_part(tensors, "model"), run.path / "checkpoint")
        unpack_optimizer(self.optimizer, named_part(tensors, "optimizer"))
        device = self.parameters[0].device
        now.carry = tuple(t.to(device) for t in numbered_part(tensors, _carry(self.ranks.rank)))
        self.average = [t.to(device) for t in numbered_part(tensors, "average")]
        now.update(facts)
        if now.steps:
            self._set_steps(now.steps)
        for parts in (self.milestones, self.samples):
            parts.done = parts.ended(now.step, self.config.steps)
        run.truncate_log(now.step)
        valid = self.ranks.first(lambda: run.records("valid")[-self.best.count :])
        for record in valid:
            self.best.remember(record[self.task.monitor], record.get("loss", math.inf))

    def _checkpoint(self) -> tuple[dict[str, Tensor], tuple[dict[str, Any], list[str]]]:
        tensors, facts, damaged = self.run_folder.load_checkpoint()
        return tensors, (facts, damaged)

    def load_best(self) -> int:
        """Load the weights that did best on validation; return their step."""
        path = self.run_folder.model_path
        weights, facts = self.ranks.first_with_tensors(lambda: load_tensors(path))
        load_weights(self.model, weights, path)
        self.model.eval()
        return facts["step"]


def _carry(rank: int) -> str:
    """Return what the states of a process are called in a checkpoint."""
    return f"carry-{rank}" if rank else "carry"
