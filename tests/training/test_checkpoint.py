"""Tensors on disk: what is written comes back bit for bit, and what is damaged never does."""

import io
import pickle
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from plait.errors import InputError
from plait.training.checkpoint import (
    load_tensors,
    load_weights,
    pack_optimizer,
    save_tensors,
    unpack_optimizer,
)

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip
FACTS = {"step": 3, "best": None, "score": 0.1 + 0.2, "text": "Fünf „x“\n", "list": [1, [2.5]]}


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "step-00000003.safetensors"
    generator = torch.Generator().manual_seed(0)
    tensors = {"a.w": torch.randn(3, 4, generator=generator), "step": torch.tensor(7)}
    save_tensors(path, tensors, FACTS)
    return path


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (3, 4, 5)], ids=str)
def test_every_dtype_and_shape_comes_back(tmp_path, dtype, shape):
    generator = torch.Generator().manual_seed(1)
    tensor = (100 * torch.rand(shape, generator=generator)).to(dtype)
    save_tensors(tmp_path / "a", {"x": tensor}, {})
    back = load_tensors(tmp_path / "a")[0]["x"]
    assert back.dtype == dtype
    assert back.shape == shape
    assert torch.equal(back, tensor)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "__metadata__"),
        st.lists(st.floats(width=32, allow_nan=False), max_size=5),
        max_size=4,
    ),
    st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False) | st.text(max_size=9)),
)
def test_any_names_and_facts_come_back(tmp_path_factory, lists, facts):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    save_tensors(path, {name: torch.tensor(values) for name, values in lists.items()}, facts)
    tensors, back = load_tensors(path)
    assert {name: t.tolist() for name, t in tensors.items()} == lists
    assert back == facts


def test_views_of_one_memory_and_unusual_strides_come_back(tmp_path):
    base = torch.arange(12.0, requires_grad=True)
    views = {"all": base, "head": base[:4], "turned": base.view(3, 4).T, "twice": base[::2]}
    save_tensors(tmp_path / "a", views, {})
    for name, tensor in load_tensors(tmp_path / "a")[0].items():
        assert torch.equal(tensor, views[name])


def test_what_was_read_lives_on_when_the_file_changes(saved):
    tensors, facts = load_tensors(saved)
    before = tensors["a.w"].clone()
    saved.write_bytes(bytes(saved.stat().st_size))
    assert torch.equal(tensors["a.w"], before)
    assert facts == FACTS


def refused(path: Path) -> None:
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: (damaged|no such file)"):
        load_tensors(path)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_a_changed_byte_is_noticed_wherever_it_is(saved, mask):
    content = saved.read_bytes()
    tensors, _ = load_tensors(saved)
    noticed = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= mask
        saved.write_bytes(changed)
        try:
            again, facts = load_tensors(saved)
        except InputError as error:
            noticed += str(error).startswith(f"{saved}: damaged")
        else:  # \u00fC is \u00fc, and 0.30000000000000005 is 0.1 + 0.2: nothing is lost
            assert facts == FACTS
            assert all(torch.equal(again[name], tensors[name]) for name in tensors)
            assert place >= 8
            assert content[place : place + 1] in b"0123456789abcdef"
    assert noticed >= len(content) - 4
    assert noticed == len(content) or mask in (0x01, 0x20)


def test_a_file_of_another_length_is_noticed(saved):
    content = saved.read_bytes()
    for length in range(len(content)):  # the empty file first
        saved.write_bytes(content[:length])
        refused(saved)
    for more in (b"\0", b"abc", content):
        saved.write_bytes(content + more)
        refused(saved)
    saved.unlink()
    refused(saved)


def test_tensors_that_plait_did_not_write_are_refused(saved):
    save_file({"a.w": torch.zeros(3)}, saved)
    refused(saved)
    save_file({"a.w": torch.zeros(3)}, saved, {"plait": "{}"})
    refused(saved)
    save_file({"a.w": torch.zeros(3)}, saved, {"plait": "{}", "crc32": "none"})
    refused(saved)


class Trap:
    """What a pickle could do: leave a file behind when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "torch.save", "torch.save, old"])
def test_a_pickle_is_refused_and_never_opened(saved, tmp_path, kind):
    sprung = tmp_path / "sprung"
    buffer = io.BytesIO()
    if kind == "pickle":
        pickle.dump(Trap(sprung), buffer)
    else:
        new = kind == "torch.save"
        torch.save({"a": Trap(sprung)}, buffer, _use_new_zipfile_serialization=new)
    saved.write_bytes(buffer.getvalue())
    refused(saved)
    assert not sprung.exists()
    buffer.seek(0)  # the trap is a real one
    torch.load(buffer, weights_only=False) if kind != "pickle" else pickle.load(buffer)
    assert sprung.exists()


def test_weights_that_do_not_fit_are_refused_in_one_line():
    model, where = nn.Linear(3, 2), Path("run/model.safetensors")
    good = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    for bad, named in (
        ({**good, "weight": torch.ones(2, 4)}, "weight"),
        ({"weight": good["weight"]}, "bias"),
        ({**good, "more": torch.ones(1)}, "more"),
    ):
        with pytest.raises(InputError) as caught:
            load_weights(model, bad, where)
        assert str(caught.value).startswith("run/model.safetensors: does not fit")
        assert named in str(caught.value)
        assert "\n" not in str(caught.value)
    load_weights(model, good, where)
    assert torch.equal(model(torch.ones(1, 3)), torch.full((1, 2), 3.0))


def test_an_optimizer_goes_on_bit_for_bit(tmp_path):
    def make(w: torch.Tensor, b: torch.Tensor):
        p, q = nn.Parameter(w.clone()), nn.Parameter(b.clone())
        groups = [{"params": [p], "weight_decay": 0.1}, {"params": [q], "weight_decay": 0.0}]
        return p, q, torch.optim.AdamW(groups, lr=0.01, fused=True)

    def step(p, q, optimizer, k):
        optimizer.zero_grad()
        ((p.sin() * (k + 1)).sum() + (q * k).cos().sum()).backward()
        optimizer.step()

    p, q, optimizer = make(torch.arange(6.0).view(2, 3), torch.ones(3))
    for k in range(3):
        step(p, q, optimizer, k)
    save_tensors(tmp_path / "o", pack_optimizer(optimizer), {})
    p2, q2, other = make(p.detach(), q.detach())
    step(*make(p.detach(), q.detach()), 3)
    unpack_optimizer(other, load_tensors(tmp_path / "o")[0])
    p3, q3, fresh = make(p.detach(), q.detach())
    for k in range(3, 6):
        step(p, q, optimizer, k)
        step(p2, q2, other, k)
        step(p3, q3, fresh, k)
    assert torch.equal(p, p2)
    assert torch.equal(q, q2)
    assert not torch.equal(p, p3)  # without its state it goes elsewhere
    packed, again = pack_optimizer(optimizer), pack_optimizer(other)
    assert packed.keys() == again.keys()
    assert all(torch.equal(packed[name], again[name]) for name in packed)
