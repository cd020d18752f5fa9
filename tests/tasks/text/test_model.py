"""The character model, against torch.nn and the published counts."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

from plait.errors import InputError
from plait.nn.cells import CELLS
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Bytes, Characters

SYMBOLS = Characters.of("abcdefgh")


def model(**options) -> TextModel:
    torch.manual_seed(0)
    config = TextConfig(**{"hidden_size": 6, "embedding_size": 5, "layers": 2, **options})
    return TextModel(SYMBOLS, config)


def test_table_1_has_as_many_parameters_as_published():
    """The report's 285,780 count torch's two biases a gate; ours has one."""
    symbols = Characters("".join(map(chr, range(48, 48 + 84))))
    made = TextModel(symbols, TextConfig())
    assert sum(p.numel() for p in made.parameters()) == 284_756
    assert 284_756 + 2 * 4 * 128 == 285_780


@pytest.mark.parametrize(("cell", "kind"), [("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn", nn.RNN)])
def test_it_is_an_embedding_torchs_layer_and_a_linear_map(cell, kind):
    made = model(cell=cell).double()
    theirs = kind(5, 6, num_layers=2).double()
    theirs.load_state_dict(made.recurrent.to_torch().state_dict())
    numbers = torch.randint(8, (9, 3))
    logits, state = made(numbers)
    h, final = theirs(made.embedding.weight[numbers])
    expected = h @ made.output.weight.T + made.output.bias
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(state, final, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_a_text_in_two_pieces_with_the_state_carried_is_the_whole(cell):
    made = model(cell=cell).double()
    numbers = torch.randint(8, (11, 2))
    whole, end = made(numbers)
    first, state = made(numbers[:4])
    second, last = made(numbers[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(last, end, rtol=1e-12, atol=1e-13)


def test_the_first_logits_are_those_of_the_zero_state():
    made = model()
    with torch.no_grad():
        made.output.bias.normal_()
    assert torch.equal(made.first_logits(3), made.output.bias.expand(3, -1))


def test_dropout_acts_in_training_alone_and_where_it_says():
    numbers = torch.randint(8, (400, 50))
    plain = model(layers=1).eval()(numbers)[0]
    for options in ({"dropout": 0.25}, {"recurrent_dropout": 0.25}):
        made = model(layers=1, **options)
        assert not torch.allclose(made(numbers)[0], plain, rtol=1e-2)
        assert torch.equal(made.eval()(numbers)[0], plain)
    made = model(layers=1, dropout=0.25)
    heard = {}
    made.recurrent.register_forward_hook(lambda _, x, y: heard.update(x=x[0], y=y[0]))
    made.output.register_forward_hook(lambda _, x, y: heard.update(o=x[0]))
    made(numbers)
    for dropped, whole in ((heard["x"], made.embedding(numbers)), (heard["o"], heard["y"])):
        share = (dropped == 0).double().mean().item()
        assert abs(share - 0.25) < 0.01  # 4.6 standard deviations of 100,000 draws
        kept = dropped != 0
        torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)


def test_initial_weights_are_as_chosen():
    orthogonal, torchs = model(), model(init="torch")
    i, f, g, o = orthogonal.recurrent.strands[0].bias.detach().view(4, 6)
    assert (f == 1).all()
    assert (torch.stack([i, g, o]) == 0).all()
    u = orthogonal.recurrent.strands[0].recurrent["weight"].detach().view(4, 6, 6)
    torch.testing.assert_close(u @ u.mT, torch.eye(6).expand(4, 6, 6), rtol=0, atol=1e-6)
    bound = 6**-0.5
    assert all(p.abs().max() <= bound for p in torchs.recurrent.parameters())
    assert torchs.recurrent.strands[0].bias.std() > bound / 3


def test_tied_weights_are_one_matrix():
    made = model(embedding_size=6, tied=True)
    assert made.embedding.weight is made.output.weight
    free = model(embedding_size=6)
    count = sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in made.parameters())
    assert count == 8 * 6
    numbers = torch.randint(8, (5, 2))
    with torch.no_grad():
        before = made(numbers)[0]
        made.output.weight *= 2
        assert not torch.allclose(made(numbers)[0], 2 * before - made.output.bias)
    with pytest.raises(InputError, match=r"--embedding-size \(5\) and --hidden-size \(6\)"):
        model(tied=True)


@pytest.mark.parametrize("units", ["chars", "bytes"])
def test_a_model_is_rebuilt_from_what_a_run_folder_keeps(units):
    vocabulary = Bytes() if units == "bytes" else SYMBOLS
    config = TextConfig(units=units, cell="gru-before", hidden_size=6, embedding_size=5)
    made = TextModel(vocabulary, config).eval()
    facts = json.loads(json.dumps({"vocabulary": vocabulary.facts}))
    again = TextModel.from_facts(
        TextConfig.from_dict(json.loads(json.dumps(asdict(config)))), facts
    )
    again.load_state_dict(made.state_dict())
    assert again.eval().generate("abc", 50, seed=1) == made.generate("abc", 50, seed=1)
    assert again.recurrent.cell == made.recurrent.cell
