"""A training on `torch.nn.LSTM`, of which one line is changed."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

from plait import Recurrent

WORDS, TAGS, HIDDEN = 12, 3, 16


class Sentences(Dataset):
    """Words, each tagged by the word before it."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(index)
        length = int(torch.randint(3, 10, (), generator=generator))
        words = torch.randint(0, WORDS, (length,), generator=generator)
        before = torch.cat([words.new_zeros(1), words[:-1]])
        return words, before % TAGS


def collate(batch):
    words, tags = zip(*batch, strict=True)
    lengths = torch.tensor([len(w) for w in words])
    return pad_sequence(words), lengths, pad_sequence(tags, padding_value=-1)


class Tagger(nn.Module):
    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 8)
        self.recurrent = recurrent
        self.out = nn.Linear(2 * HIDDEN, TAGS)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embed(words), lengths, enforce_sorted=False)
        h, _ = self.recurrent(packed)
        return self.out(pad_packed_sequence(h)[0])


def lstm() -> nn.LSTM:
    return nn.LSTM(8, HIDDEN, num_layers=2, bidirectional=True)


def train(make, folder) -> list[float]:
    """Train, save half-way, go on from what was saved; return the losses."""
    torch.manual_seed(0)
    model = Tagger(make())
    loader = DataLoader(Sentences(), batch_size=16, collate_fn=collate, num_workers=2)
    losses: list[float] = []
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for epoch in range(6):
        if epoch == 3:
            torch.save({"model": model.state_dict(), "adam": optimizer.state_dict()}, folder / "at")
            saved = torch.load(folder / "at", weights_only=True)
            model = Tagger(make())
            model.load_state_dict(saved["model"])
            optimizer = torch.optim.Adam(model.parameters(), 0.03)
            optimizer.load_state_dict(saved["adam"])
        call = torch.compile(model, backend="aot_eager")
        for words, lengths, tags in loader:
            with torch.autocast("cpu", torch.bfloat16):
                scores = call(words, lengths)
                loss = nn.functional.cross_entropy(
                    scores.flatten(0, 1).float(), tags.flatten(), ignore_index=-1
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_one_line_is_changed_and_the_losses_agree(tmp_path):
    theirs = train(lstm, tmp_path)
    torch._dynamo.reset()
    ours = train(lambda: Recurrent.from_torch(lstm()), tmp_path)
    assert abs(ours[0] - theirs[0]) < 1e-3
    assert max(ours[-1], theirs[-1]) < 0.2 * theirs[0]
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 0.06  # of 1.1, in bfloat16
