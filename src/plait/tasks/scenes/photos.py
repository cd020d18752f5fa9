"""The images in which a detector found the objects, where their files are there."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

PHOTO = 800
"""Pixels of the longer side of a photo as it is drawn."""

LARGEST = 10**8
"""Pixels of a photo that is read, at most."""


def find_photo(folder: Path, name: str) -> Path | None:
    """Find an image's file under `folder`; None where there is none, or the name can be none."""
    try:
        return folder / name if name and (folder / name).is_file() else None
    except OSError:  # a name that is too long
        return None


def read_photo(folder: Path, name: str) -> np.ndarray | None:
    """Read an image's file, `[height, width, 3]`, bytes.

    None where it is not found, is no image, or has more than 10⁸ pixels.
    """
    path = find_photo(folder, name)
    if path is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of what is odd in a file
        try:
            with Image.open(path) as photo:
                if photo.width * photo.height > LARGEST:
                    return None
                photo.thumbnail((PHOTO, PHOTO))
                return np.asarray(photo.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None  # what Pillow raises for a file that is no whole image
