"""The character model, against torch.nn and the published counts."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

from plait.errors import InputError
from plait.nn.graph import Graph
from plait.nn.registry import CELLS
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Bytes, Characters
from plait.tasks.text.words import UNKNOWN, Words
from plait.zoo import gcrn_m1

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
    given = {}
    made.recurrent.register_forward_hook(lambda _, x, y: given.update(x=x[0], y=y[0]))
    made.output.register_forward_hook(lambda _, x, y: given.update(o=x[0]))
    made(numbers)
    for dropped, whole in ((given["x"], made.embedding(numbers)), (given["o"], given["y"])):
        share = (dropped == 0).double().mean().item()
        assert abs(share - 0.25) < 0.01  # 4.6 standard deviations of 100,000 draws
        kept = dropped != 0
        torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)


def test_initial_weights_are_as_chosen():
    orthogonal, torchs = model(), model(init="torch")
    i, f, g, o = orthogonal.recurrent.directions[0].bias.detach().view(4, 6)
    assert (f == 1).all()
    assert (torch.stack([i, g, o]) == 0).all()
    u = orthogonal.recurrent.directions[0].recurrent["weight"].detach().view(4, 6, 6)
    torch.testing.assert_close(u @ u.mT, torch.eye(6).expand(4, 6, 6), rtol=0, atol=1e-6)
    bound = 6**-0.5
    assert all(p.abs().max() <= bound for p in torchs.recurrent.parameters())
    assert torchs.recurrent.directions[0].bias.std() > bound / 3


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


def graph_of_words() -> Graph:
    generator = torch.Generator().manual_seed(0)
    return Graph.from_points(torch.rand(8, 3, generator=generator), 2)


@pytest.fixture
def smoothed() -> TextModel:
    """A model of 8 words over a graph of them, all its weights drawn, in float64."""
    torch.manual_seed(0)
    config = TextConfig(units="words", word_graph=2, hidden_size=6, embedding_size=5,
                        cell="lstm-peephole", layers=1)  # fmt: skip
    made = TextModel(Words([UNKNOWN, *"abcdefg"]), config, graph_of_words().num_edges).double()
    made.place(graph_of_words())
    with torch.no_grad():
        for p in made.parameters():
            p.normal_()
    return made


def test_over_a_graph_of_words_it_is_model_1_of_gcrn_on_one_hot_signals(smoothed):
    theirs = gcrn_m1(1, 6, num_nodes=8).double()
    direction, mine = smoothed.recurrent.directions[0], smoothed.state_dict()
    weights = theirs.state_dict()
    weights["filter.weights.weight"] = mine["filter.weights.weight"]
    weights["filter.bias"].zero_()
    weights |= {k: v for k, v in mine.items() if k.startswith("recurrent.")}
    W = direction.inputs["weight"].detach() @ smoothed.embedding.weight.detach().T  # [4H, V]
    weights["recurrent.directions.0.inputs.weight"] = W
    theirs.load_state_dict(weights)
    numbers = torch.randint(8, (9, 3))
    logits, state = smoothed(numbers)
    signals = nn.functional.one_hot(numbers, 8).double()[..., None]  # [T, B, V, 1]
    h, final = theirs(signals, graph=smoothed.graph)
    torch.testing.assert_close(logits, smoothed.output(h), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(state, final, rtol=1e-11, atol=1e-12)


def test_the_filtered_table_and_its_gradients_are_the_formula(smoothed):
    graph = smoothed.graph
    A = torch.zeros(8, 8, dtype=torch.float64)
    A[graph.edge_index[0], graph.edge_index[1]] = graph.edge_weight.double()
    root = A.sum(1).rsqrt()
    L = -root[:, None] * A * root  # 2 L / 2 − I
    terms = [torch.eye(8, dtype=torch.float64), L, 2 * L @ L - torch.eye(8, dtype=torch.float64)]
    E, theta = smoothed.embedding.weight, smoothed.filter.weights["weight"]
    expected = sum(t * T @ E for t, T in zip(theta.flatten(), terms, strict=True))
    torch.testing.assert_close(smoothed.table(), expected, rtol=1e-12, atol=1e-13)
    weighting = torch.randn(8, 5, dtype=torch.float64)
    ours, naive = (
        torch.autograd.grad((table * weighting).sum(), [E, theta])
        for table in (smoothed.table(), expected)
    )
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=1e-13)


def test_over_a_graph_it_begins_as_the_network_without_and_writes_with_the_filtered_table(smoothed):
    torch.manual_seed(0)
    config = TextConfig(units="words", word_graph=2, k=2, hidden_size=6, embedding_size=5)
    fresh = TextModel(smoothed.vocabulary, config, graph_of_words().num_edges)
    fresh.place(graph_of_words())
    torch.testing.assert_close(fresh.table(), fresh.embedding.weight, rtol=0, atol=0)
    smoothed.float().eval()
    plain = smoothed.generate("a b", 40, seed=1)
    smoothed.compiled = lambda *_: None
    assert smoothed.generate("a b", 40, seed=1) == plain
    with torch.no_grad():
        smoothed.filter.weights["weight"].mul_(-1)
    assert smoothed.generate("a b", 40, seed=1) != plain
