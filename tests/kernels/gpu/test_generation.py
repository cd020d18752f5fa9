"""Text by a recorded step: the symbols of a step at a time, by a stand-in for a GPU."""

import pytest
import torch

from plait.kernels.gpu import graphs
from plait.kernels.gpu.generation import ROWS, WARM
from plait.nn.generation import RecordedGenerator
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Characters

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


class Recorder:
    """Does recorded work again at each replay; it counts."""

    def __init__(self, device):
        self.warmed = self.recorded = self.replayed = 0

    def warm_up(self, work):
        self.warmed += 1
        work()

    def record(self, work):
        self.recorded += 1

        def replay():
            self.replayed += 1
            work()

        return replay

    def follow(self):
        pass


class Recorded(TextModel):
    """Generates by recorded steps on any device."""

    def compiled(self, state, count):
        if state is None:
            shape = (self.recurrent.layers, count, self.recurrent.hidden_size)
            state = tuple(self.output.weight.new_zeros(shape) for _ in self.recurrent.cell.states)
        states = (state,) if isinstance(state, torch.Tensor) else state
        self.made = RecordedGenerator(self.table(), self.recurrent, self.output, states, Recorder)
        return self.made


class Stepwise(TextModel):
    """Generates a step at a time."""

    def compiled(self, state, count):
        return None


def models(cell, layers=1):
    found = []
    for kind in (Recorded, Stepwise):
        torch.manual_seed(0)
        config = TextConfig(hidden_size=6, cell=cell, layers=layers)
        found.append(kind(Characters.of("abcdefgh\n "), config).double())
    return found


@pytest.mark.parametrize("cell", ["lstm", "gru", "min-gru"])
def test_recorded_steps_draw_what_single_ones_do(cell):
    ours, plain = models(cell, layers=2)
    options = {"length": ROWS + 5, "count": 2, "seed": 3}
    assert ours.generate("abc", **options) == plain.generate("abc", **options)
    recorder = ours.made.loop.recorder
    # the first symbol follows from the prompt
    assert (recorder.warmed, recorder.recorded) == (WARM, 1)
    assert recorder.replayed == ROWS + 5 - 1 - WARM


@pytest.mark.parametrize("sampling", [{"greedy": True}, {"top_p": 0.8}, {"top_k": 3, "min_p": 0.1}])
def test_every_way_to_draw_is_the_same(sampling):
    ours, plain = models("gru")
    assert ours.generate("", 9, **sampling) == plain.generate("", 9, **sampling)


def test_a_stream_records_as_it_goes_on():
    ours, plain = models("lstm")
    assert "".join(ours.stream("ab", 8)) == "".join(plain.stream("ab", 8))
    assert ours.made.loop.recorder.replayed == 8 - 1 - WARM


def test_only_a_gpu_records(monkeypatch):
    model = Stepwise(Characters.of("ab"), TextConfig(hidden_size=4))
    assert not RecordedGenerator.can_run(model.recurrent)
    with graphs.warming():
        assert graphs.refusal() == "the call will be part of a recording"
    assert graphs.refusal() is None


@cuda
@pytest.mark.parametrize("cell", ["lstm", "lstm-peephole", "gru-before"])
def test_on_a_gpu_a_recorded_text_is_the_stepwise_one(cell):
    torch.manual_seed(0)
    model = TextModel(Characters.of("abcdefgh\n "), TextConfig(hidden_size=32, cell=cell)).cuda()
    assert RecordedGenerator.can_run(model.recurrent)
    found = model.generate("abc", 100, count=3)
    model.compiled = lambda state, count: None
    assert found == model.generate("abc", 100, count=3)
