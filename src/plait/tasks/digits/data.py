"""Images of digits: where they come from, which are trained on and which tested on, sequences."""

import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.data import find_data, require_data
from plait.errors import InputError
from plait.tasks.digits.config import DigitsConfig
from plait.tasks.digits.frames import draw_frames
from plait.tasks.splits import Splits
from plait.text_files import read_content
from plait.training.streams import random_generator

TRAINING, FITTING, VALIDATION, TEST = 0, 1, 2, 3
"""Streams of random numbers, which never meet."""

SCORED = 50
"""Sequences at a time where nothing is learnt."""

BATCHES = {FITTING: 4, VALIDATION: 4, TEST: 20}
"""How many such batches the baselines are fitted on, and a network is validated and tested on."""

MNIST = ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")
"""MNIST's files of images, under `digits/` in a data folder."""

BOUNDS = (0.8, 0.9)
"""Where, as a share of all images in a fixed random order, validation and test begin."""

MEMORY = 5.0
"""Bytes of memory for a byte of an image, a grey level."""

LEAST = 10
"""Images without which there is nothing to split."""


class Digits(NamedTuple):
    """Images of digits, `[n, rows, columns]`, from 0 to 1; float32."""

    source: str
    images: np.ndarray

    @property
    def sha256(self) -> str:
        """Return what identifies the images."""
        return hashlib.sha256(self.images.tobytes()).hexdigest()

    def scaled(self, side: int) -> np.ndarray:
        """Scale the images to `[n, side, side]` by bilinear interpolation, areas averaged."""
        images = torch.from_numpy(self.images)[:, None]
        scaled = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        return scaled[:, 0].clamp(0, 1).numpy()


def split_images(count: int) -> Splits[np.ndarray]:
    """Split images 8 : 1 : 1, in one random order that is the same whatever a run's seed.

    >>> from plait.tasks.digits.data import split_images
    >>> [len(part) for part in split_images(1797)]
    [1437, 180, 180]
    """
    order = np.random.default_rng(0).permutation(count)
    return Splits(*np.split(order, [int(share * count) for share in BOUNDS]))


def sequences(
    images: np.ndarray, config: DigitsConfig, number: int, stream: int, count: int
) -> Tensor:
    """Draw the frames `[P + H, B, S, S]` of a batch by its number.

    What is trained on depends on the run's seed; what is validated and tested on does not.
    """
    random = random_generator(config.seed if stream == TRAINING else 0, number, stream)
    steps = config.history + config.horizon
    return torch.from_numpy(draw_frames(random, images, count, steps, config.frame))


def batches(
    images: np.ndarray, config: DigitsConfig, stream: int, device: torch.device
) -> Iterable[Tensor]:
    """Yield all batches of a stream in which nothing is learnt."""
    for number in range(1, BATCHES[stream] + 1):
        yield sequences(images, config, number, stream, SCORED).to(device)


def read_digits(name: str) -> Digits:
    """Read digits by name or path.

    Parameters
    ----------
    name : str
        "scikit-learn": 1,797 of 8 × 8, of `load_digits`. "mnist": MNIST's images of 28 × 28 (LeCun
        et al. 1998), of those of its two files that are in `digits/` under `$PLAIT_DATA` or the
        cache, all put together. Else an IDX file of images, gzip or not.

    Raises
    ------
    InputError
        For a file that is not there, is damaged, or holds something else than images.

    Example
    -------
    >>> from plait.tasks.digits.data import read_digits
    >>> read_digits("scikit-learn").images.shape
    (1797, 8, 8)
    """
    if name == "scikit-learn":
        from sklearn.datasets import load_digits

        images = np.asarray(load_digits().images, np.float32) / 16  # pyright: ignore[reportAttributeAccessIssue]
        return Digits("load_digits() of scikit-learn", images)
    if name == "mnist":
        found = [path for file in MNIST if (path := find_data(f"digits/{file}"))]
        files = found or [require_data(f"digits/{MNIST[0]}", "of MNIST")]
    elif Path(name).is_file():
        files = [Path(name)]
    else:
        raise InputError(
            f"no digits {name!r}: there is no such file, and it is not scikit-learn or mnist"
        )
    parts = [read_idx(file) for file in files]
    sizes = [" × ".join(map(str, part.shape[1:])) for part in parts]
    if len({*sizes}) > 1:
        raise InputError(
            f"{files[0]} has images of {sizes[0]}, {files[1]} of {sizes[1]}; give one of them"
        )
    images = np.concatenate(parts)
    if len(images) < LEAST:
        raise InputError(f"{files[0]} has {len(images)} images; at least {LEAST} are needed")
    return Digits(" and ".join(map(str, files)), images)


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of images, gzip or not, into `[n, rows, columns]` from 0 to 1; float32.

    The format is MNIST's: the bytes 0, 0, 8 (unsigned bytes), 3 (axes), three sizes of 32 bits,
    most significant byte first, then the grey levels.

    Raises
    ------
    InputError
        Where the file is something else, or ends early.
    """
    content = read_content(path, MEMORY)
    if content[:2] == b"\x1f\x8b":  # gzipped, whatever its name is
        content = _unfolded(path, content)
    if content[:4] != b"\x00\x00\x08\x03" or len(content) < 16:
        raise InputError(
            f"{path} is no IDX file of images: it begins with {content[:4].hex(' ') or 'nothing'}, "
            "not 00 00 08 03"
        )
    shape = np.frombuffer(content, ">u4", 3, 4).astype(int)
    expected, sizes = 16 + math.prod(shape.tolist()), " × ".join(map(str, shape))
    if not shape.all():
        raise InputError(f"{path} holds no images: its sizes are {sizes}; give another file")
    if len(content) != expected:
        raise InputError(
            f"{path} is damaged: {len(content):,} bytes where {sizes} images take {expected:,}; "
            "fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=16).reshape(shape).astype(np.float32) / 255


def _unfolded(path: Path, content: bytes) -> bytes:
    """Unfold a gzipped file, but for what lies beyond the images that it says it holds."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            head = file.read(16)
            expected = math.prod(np.frombuffer(head[4:], ">u4").astype(int).tolist())
            size = min(expected, 1100 * len(content)) + 1  # gzip folds 1,032 bytes into one
            return head + file.read(size)
    except OSError as error:  # a checksum that does not fit
        raise InputError(f"cannot read {path}: {error}") from None
    except (EOFError, ValueError, zlib.error):
        raise InputError(f"{path} is damaged: its gzip ends early; fetch it again") from None
