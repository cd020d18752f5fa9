"""Where digits come from, and that no image is both trained and tested on."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from plait.errors import InputError
from plait.tasks.digits.data import MNIST, Digits, read_digits, read_idx, split_images


def idx(images: np.ndarray) -> bytes:
    return struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.astype(np.uint8).tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 4))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_is_read_as_it_was_written(tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(idx(IMAGES)))
    found = read_digits(str(path))
    assert found.images.dtype == np.float32
    np.testing.assert_array_equal(np.rint(found.images * 255), IMAGES)
    assert found.images.max() <= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no IDX file of images: it begins with nothing, not 00 00 08 03"),
        (struct.pack(">4BI", 0, 0, 8, 1, 12) + bytes(12), "it begins with 00 00 08 01"),
        (idx(IMAGES)[:-1], "is damaged: 255 bytes where 12 × 5 × 4 images take 256"),
        (idx(IMAGES) + b"x", "is damaged: 257 bytes"),
        (idx(IMAGES[:0]), "holds no images: its sizes are 0 × 5 × 4; give another file"),
        (idx(IMAGES)[:4] + b"\xff" * 12, "is damaged: 16 bytes where 4294967295 × 4294967295 × "),
        (gzip.compress(idx(IMAGES))[:-9], "is damaged: its gzip ends early"),
        (gzip.compress(idx(IMAGES))[:-8] + bytes(8), "cannot read"),
        (idx(IMAGES[:9]), "has 9 images; at least 10 are needed"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(InputError, match="images") as refused:
        read_digits(str(path))
    assert message in str(refused.value)


def test_missing_digits_are_reported(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no digits 'nine': there is no such file"):
        read_digits("nine")
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    monkeypatch.setattr("plait.data.cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is not on this machine"):
        read_digits("mnist")


def test_both_files_of_mnist_are_put_together(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    (tmp_path / "digits").mkdir()
    for name, images in (("train", IMAGES), ("t10k", IMAGES[:3])):
        path = tmp_path / "digits" / f"{name}-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(idx(images)))
    assert len(read_digits("mnist").images) == 15


def test_mnists_digits():
    folder = os.environ.get("PLAIT_DATA", "")
    path = Path(folder) / "digits" / "t10k-images-idx3-ubyte.gz"
    if not folder or not path.is_file():
        pytest.skip("PLAIT_DATA names no folder with digits/t10k-images-idx3-ubyte.gz")
    images = read_idx(path)
    assert images.shape == (10_000, 28, 28)
    assert images[:, 0].max() < 0.5  # the digits lie within
    assert images.max() == 1
    np.testing.assert_array_equal(Digits("", images[:3]).scaled(28), images[:3])


def test_every_image_is_in_one_part():
    parts = split_images(1797)
    assert sorted(np.concatenate(parts)) == list(range(1797))
    again = split_images(1797)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_no_digit_comes_twice():
    """Else a test digit could be one that was trained on under another number."""
    images = read_digits("scikit-learn").images
    assert len({image.tobytes() for image in images}) == len(images)


def test_scaling_down_averages_areas_and_keeps_the_grey_of_flat_images():
    checks = np.indices((8, 8)).sum(0)[None] % 2
    halved = Digits("", checks.astype(np.float32)).scaled(4)
    np.testing.assert_allclose(halved[0, 1:3, 1:3], 0.5, atol=1e-6)
    flat = Digits("", np.full((1, 8, 8), 0.25, np.float32))
    for side in (5, 14, 28):
        np.testing.assert_allclose(flat.scaled(side), 0.25, atol=1e-6)


def test_a_gzip_that_unfolds_without_end_is_not_unfolded(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(idx(IMAGES) + bytes(10**8)))
    tracemalloc.start()
    with pytest.raises(InputError, match="is damaged: 257 bytes where 12 × 5 × 4 images take 256"):
        read_idx(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10**7


def test_mnist_of_two_sizes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    (tmp_path / "digits").mkdir()
    for file, images in zip(MNIST, (IMAGES, IMAGES[:, :3]), strict=True):
        (tmp_path / "digits" / file).write_bytes(gzip.compress(idx(images)))
    with pytest.raises(InputError, match=r"has images of 5 × 4, .* of 3 × 4; give one of them"):
        read_digits("mnist")
