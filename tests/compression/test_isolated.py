"""What becomes of work in a child process that ends well, badly, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from compression import isolated
from compression.errors import ConverterCrashed

WORK = """
import ctypes, os, time
from compression import isolated

def good(folder):
    isolated.progress("half done")
    print("something else")
    isolated.write_json(folder / "answer.json", {"seen": sorted(os.listdir(folder))})

def bad(folder):
    raise ValueError("this weight is odd\\nand more lines")

def crash(folder):
    ctypes.string_at(0)

def slow(folder):
    isolated.progress("begun")
    time.sleep(600)

def leave(folder):
    print("giving up early")
    os._exit(7)
"""


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of children in which `compression.trial` is a module."""
    folder = tmp_path_factory.mktemp("children")
    (folder / "trial.py").write_text(WORK)
    (folder / "sitecustomize.py").write_text(
        f"import compression\ncompression.__path__.append({str(folder)!r})\n"
    )
    return {"PYTHONPATH": f"{folder}:{Path(isolated.__file__).parents[1]}"}


def test_files_go_in_and_out_and_progress_is_shown(children: dict[str, str], tmp_path: Path):
    (tmp_path / "given").touch()
    shown = []
    isolated.run(
        "compression.trial:good", tmp_path, "Trying", environment=children, show=shown.append
    )
    assert isolated.read_json(tmp_path / "answer.json") == {"seen": ["given"]}
    assert shown == ["half done"]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("bad", "ValueError: this weight is odd"),
        ("crash", "its process was ended by SIGSEGV (signal 11)"),
        ("leave", "giving up early"),
        ("missing", "has no attribute 'missing'"),
    ],
)
def test_a_failure_is_one_sentence(
    children: dict[str, str], tmp_path: Path, function: str, words: str
):
    with pytest.raises(ConverterCrashed) as error:
        isolated.run(f"compression.trial:{function}", tmp_path, "Trying", environment=children)
    assert str(error.value).startswith("Trying failed: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_child_that_takes_too_long_is_ended(children: dict[str, str], tmp_path: Path):
    with pytest.raises(ConverterCrashed, match="it took too long"):
        isolated.run(
            "compression.trial:slow", tmp_path, "Trying", environment=children, timeout=2.0
        )


def test_only_functions_of_this_package_run(tmp_path: Path):
    with pytest.raises(ConverterCrashed, match="not a function of compression"):
        isolated.run("os:remove", tmp_path, "Trying")
