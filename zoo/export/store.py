"""The folders of a model store, and which of them TensorFlow Serving would take for versions.

store/NAME/VERSION/…, where VERSION is a whole number. Everything else inside NAME (an export that
is still being written, lock files) has a name that does not parse as a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import InvalidOption, StoreError

# The name is a folder, a field of a URL path (`/v1/models/NAME:predict`), a metric label and a
# line of models.config: letters that need no quoting in any of them. A leading dot hides a folder.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
LONGEST_NAME = 128
# "{{node …}} /path/of/a/file; No space left on device [Op:SaveV2]"
TENSORFLOW_ERROR = re.compile(r"(?:\{\{.*?\}\} )?(?:/\S+; )?(.*?)(?: \[Op:.*)?")
# TensorFlow Serving reads a version with safe_strto64.
LARGEST_VERSION = 2**63 - 1


def check_name(name: str) -> str:
    """`name` unchanged, if a store and a model server can use it; InvalidOption if not."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise InvalidOption(
            f"{name!r} cannot name a servable model: use 1 to {LONGEST_NAME} letters, digits, "
            "'_', '-' or '.', and no leading '.' or '-'."
        )
    if name.isdigit():
        # store/7 would make the store itself look like a model that has a version 7.
        raise InvalidOption(
            f"{name!r} cannot name a servable model because folders with whole numbers as names "
            "are versions: add a letter."
        )
    return name


def models(store: Path | str) -> list[str]:
    """Names in `store` that have at least one version, sorted; StoreError if it is unreadable."""
    store = Path(store)
    with readable(store):
        names = [entry.name for entry in store.iterdir() if entry.is_dir()]
    return sorted(name for name in names if _is_name(name) and _versions(store / name))


def versions(store: Path | str, name: str) -> list[int]:
    """Published versions of `name`, ascending; empty for a model that was never exported."""
    store = Path(store)
    with readable(store):
        known = any(entry.name == check_name(name) for entry in store.iterdir())
    return _versions(store / name) if known else []


def latest(store: Path | str, name: str) -> Path:
    """Folder of the newest version of `name`; StoreError if there is none."""
    found = versions(store, name)
    if not found:
        raise StoreError(f"{store} holds no version of {name!r}: export the model first.")
    return Path(store) / name / str(found[-1])


def is_version(entry: str) -> bool:
    """Whether a folder name is a version number in its one canonical spelling."""
    return _parses_as_version(entry) and entry == str(int(entry))


def next_version(folder: Path) -> int:
    """One more than every number in `folder`, whatever holds it, so that no name is taken twice."""
    # TensorFlow Serving would read '007' as 7, and a plain file named 7 blocks a rename to it.
    taken = [int(entry.name) for entry in folder.iterdir() if _parses_as_version(entry.name)]
    version = max(taken, default=0) + 1
    if version > LARGEST_VERSION:
        raise StoreError(f"{folder} already holds the largest version number: rename that version.")
    return version


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to list or read `path` into one sentence."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {reason(error)}.") from error


def reason(error: BaseException) -> str:
    """What went wrong in the words of the operating system or TensorFlow, without the paths."""
    text = getattr(error, "strerror", None) or str(error)
    lines = text.partition("\n\t [[")[0].splitlines() or [""]
    line = lines[-1] if lines[0] == "Graph execution error:" else lines[0]
    return TENSORFLOW_ERROR.fullmatch(line)[1].rstrip(". ")


def _versions(folder: Path) -> list[int]:
    with readable(folder):
        entries = [entry.name for entry in folder.iterdir() if entry.is_dir()]
    return sorted(int(entry) for entry in entries if is_version(entry))


def _is_name(entry: str) -> bool:
    return NAME.fullmatch(entry) is not None and not entry.isdigit() and len(entry) <= LONGEST_NAME


def _parses_as_version(entry: str) -> bool:
    return entry.isascii() and entry.isdigit()
