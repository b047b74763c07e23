from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo import export
from zoo.errors import InvalidOption, StoreError
from zoo.export.publish import staging
from zoo.export.store import LARGEST_VERSION, is_version, next_version, reason


@contextmanager
def closed_folder():
    """A folder that this process may not open, even where it is root's."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    folder = root / "store"
    folder.mkdir()
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if user == 0:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(root)


def one_sentence(error: pytest.ExceptionInfo) -> bool:
    text = str(error.value)
    return "\n" not in text and text.endswith(".") and len(text) < 400


@pytest.mark.parametrize("name", ["cnn", "CNN-2", "a.b", "_x", "2nd", "m" * 128, "v1.0"])
def test_good_names(name):
    assert export.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "a:b", "7", "007", "-x", "é", "٣", "a\n",
     "m" * 129, "a\0b", None, 3, Path("cnn")],
)  # fmt: skip
def test_bad_names(name):
    with pytest.raises(InvalidOption) as error:
        export.check_name(name)
    assert one_sentence(error)


@given(st.text(max_size=20))
def test_a_name_is_refused_or_is_one_folder_of_the_store(tmp_path_factory, name):
    try:
        export.check_name(name)
    except InvalidOption:
        return
    store = tmp_path_factory.getbasetemp()
    assert (store / name).resolve().parent == store.resolve()
    assert not is_version(name)


@given(st.sets(st.integers(0, 10**12), max_size=6))
def test_versions_are_the_integer_folders_in_order(numbers):
    with tempfile.TemporaryDirectory() as store:
        model = Path(store, "cnn")
        model.mkdir()
        for number in numbers:
            (model / str(number)).mkdir()
        for other in (".staging-1", "007", "1.5", "-1", "+3", "1_0", "²", "one", " 9"):
            (model / other).mkdir()
        (model / "77777777777777").write_text("a file, not a version")
        assert export.versions(store, "cnn") == sorted(numbers)
        assert export.models(store) == (["cnn"] if numbers else [])
        # A file and a folder that TensorFlow Serving reads as 7 count as taken all the same.
        assert next_version(model) == 77777777777778
        if numbers:
            assert export.latest(store, "cnn") == model / str(max(numbers))


def test_no_version_after_the_largest(tmp_path):
    (tmp_path / str(LARGEST_VERSION)).mkdir()
    with pytest.raises(StoreError, match="largest version"):
        next_version(tmp_path)


def test_a_model_without_a_version(tmp_path):
    (tmp_path / "empty").mkdir()
    assert export.versions(tmp_path, "empty") == []
    assert export.versions(tmp_path, "unknown") == []
    assert export.models(tmp_path) == []
    with pytest.raises(StoreError, match="holds no version of 'unknown'"):
        export.latest(tmp_path, "unknown")


def test_folders_that_are_no_models(tmp_path):
    for name in ("cnn", ".hidden", "12", "a b"):
        (tmp_path / name / "1").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    assert export.models(tmp_path) == ["cnn"]


def assert_unreadable(store: Path) -> None:
    for ask in (export.models, lambda store: export.versions(store, "cnn")):
        with pytest.raises(StoreError, match=f"Cannot read {store}") as error:
            ask(store)
        assert one_sentence(error)


def test_unreadable_stores(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for store in (file, loop, tmp_path / "missing"):
        assert_unreadable(store)


def test_a_store_without_permission():
    with closed_folder() as store:
        assert_unreadable(store)
        with pytest.raises(StoreError, match="Permission denied") as error, staging(store, "cnn"):
            pass
        assert one_sentence(error)


def test_a_model_that_is_a_file(tmp_path):
    (tmp_path / "cnn").write_text("")
    with pytest.raises(StoreError, match="Not a directory") as error:
        export.versions(tmp_path, "cnn")
    assert one_sentence(error)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device", "/a/b"), "No space left on device"),
        (ValueError("{{function_node f}} /a/b.tmp; File too large [Op:SaveV2]"), "File too large"),
        (ValueError("Shapes differ; (2,) and (3,).\nmore"), "Shapes differ; (2,) and (3,)"),
        (ValueError("Graph execution error:\n\nat\nNo PNG.\n\t [[{{node x}}]] [Op:f]"), "No PNG"),
        (ValueError(""), ""),
    ],
)
def test_reasons_are_words_without_paths(error, text):
    assert reason(error) == text


def test_importing_the_package_loads_no_framework():
    code = "import sys, zoo.export; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_public_names():
    assert sorted(export.__all__) == export.__all__
    assert all(hasattr(export, name) for name in export.__all__)
