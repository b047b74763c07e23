"""Examples on the command line: files and words to what a signature takes, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import DataError

IMAGE_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM")
LARGEST_FILE = 64 * 2**20


def read_example(signature: str, model: str, argument: str) -> Any:
    """One command line argument as one example of a signature.

    Args:
        signature: `predict_bytes` takes an image file, `predict_text` and `generate_text`
            words or a .txt file, any other numbers: a .json or .npy file, or JSON as it is.
        model: name, for messages.
        argument: what the user wrote.

    Returns:
        bytes, str, or nested lists of numbers.

    Raises:
        DataError: the argument is nothing of the kind.
    """
    if signature == "predict_bytes":
        return _image(model, argument)
    if signature in ("predict_text", "generate_text"):
        return _text(argument)
    return _numbers(model, argument)


def write_sample(stem: Path, example: bytes | str | np.ndarray) -> Path:
    """Writes a raw example so that `read_example` reads it again; returns the file."""
    if isinstance(example, bytes):
        path, content = stem.with_suffix(".png"), example
    elif isinstance(example, str):
        path, content = stem.with_suffix(".txt"), example.encode()
    else:
        path, content = stem.with_suffix(".json"), json.dumps(example.tolist()).encode()
    path.write_bytes(content)
    return path


def _image(model: str, argument: str) -> bytes:
    path = Path(argument)
    if not _is_file(path):
        raise DataError(f"{model} takes image files, and {_short(argument)} is not a file.")
    content = _read(path)
    if not content.startswith(IMAGE_BEGINNINGS):
        raise DataError(f"{model} takes PNG, JPEG, GIF or BMP images, and {path} is none of them.")
    return content


def _text(argument: str) -> str:
    path = Path(argument)
    if argument.endswith(".txt") and _is_file(path):
        try:
            return _read(path).decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text.") from error
    if argument.startswith(("/", "./", "../")) and not _is_file(path):
        raise DataError(f"{path} is not a file.")
    if _is_file(path):
        raise DataError(f"{path} is a file, but not a .txt file: pass text, or rename it.")
    return argument


def _numbers(model: str, argument: str) -> Any:
    path = Path(argument)
    try:
        if path.suffix == ".npy" and _is_file(path):
            return np.load(path, allow_pickle=False).tolist()
        text = _read(path).decode() if _is_file(path) else argument
        values = json.loads(text)
        np.asarray(values, dtype="float64")
    except (ValueError, TypeError, EOFError) as error:
        raise DataError(
            f"{model} takes numbers as a JSON list, or a .json or .npy file, and "
            f"{_short(argument)} is none of them."
        ) from error
    return values


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a long text is no file name
        return False


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise DataError(f"{path} has {size:,} bytes: at most {LARGEST_FILE:,} are read.")
    return path.read_bytes()


def _short(argument: str) -> str:
    return repr(argument if len(argument) <= 40 else argument[:37] + "…")
