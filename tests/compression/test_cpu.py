"""What the processor can do, and refusals of what it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compression import cpu
from compression.errors import UnsupportedCpu
from serving.server import requirements
from serving.server.status import Code, ServingError


def test_features_are_the_kernels_names(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\n\nprocessor\t: 1\n")
    assert requirements.features(str(file)) == {"fpu", "avx2", "amx_bf16"}
    arm = tmp_path / "arm"
    arm.write_text("processor : 0\nFeatures : fp asimd bf16\n")
    assert requirements.features(str(arm)) == {"fp", "asimd", "bf16"}
    assert requirements.features(str(tmp_path / "none")) == frozenset()


def test_what_is_missing_is_named() -> None:
    cpu.require((), "Nothing")
    have = next(iter(cpu.features()), None)
    if have is not None:
        cpu.require((have,), "Little")
    with pytest.raises(UnsupportedCpu, match=r"^The form x needs avx9 and amx9, which .*\.$"):
        cpu.require(("avx9", "amx9"), "The form x")


def test_a_version_that_needs_more_is_not_loaded(tmp_path: Path) -> None:
    requirements.check(tmp_path)
    file = tmp_path / requirements.FILE
    file.parent.mkdir()
    file.write_text(json.dumps({"form": "bfloat16", "cpu": ["amx9"]}))
    with pytest.raises(ServingError, match="The form bfloat16 needs amx9, which") as caught:
        requirements.check(tmp_path)
    assert caught.value.code is Code.FAILED_PRECONDITION
    file.write_text("[]")
    with pytest.raises(ServingError, match="no list of requirements") as caught:
        requirements.check(tmp_path)
    assert caught.value.code is Code.INVALID_ARGUMENT
