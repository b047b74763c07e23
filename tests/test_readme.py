"""The README says what is true: its figures are the kept ones, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import zoo
from benchmarks import docs, readme, record
from benchmarks.results import CASES
from zoo.cli import main

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", readme.PAGES)
def test_figures_are_the_kept_ones(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert readme.filled(name, text) == text, "run python -m benchmarks.readme"


def test_the_page_of_models_is_the_generated_one() -> None:
    assert docs.PAGE.read_text(encoding="utf-8") == docs.page(), "run make docs"


def test_every_model_has_a_case_and_every_result_reaches_its_target() -> None:
    rows = {(row["model"], row["data_set"]): row for row in record.read("models")["rows"]}
    assert {case.model for case in CASES} == set(zoo.list_models())
    assert [case.key for case in CASES] == list(rows)
    for case in CASES:
        row = rows[case.key]
        assert row["seeds"] == " ".join(map(str, case.seeds))
        assert len(row["values"]) == len(case.seeds)
        better = row["mean"] < row["target"] if case.smaller else row["mean"] >= row["target"]
        assert better, case.key


def test_chinese_says_the_same_commands_figures_and_folders() -> None:
    chinese = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")

    def facts(text: str) -> list[str]:
        commands = re.findall(r"^(?:zoo|make) .*?(?=  +#|$)", text, re.MULTILINE)
        return [
            *commands,
            *re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE),
            *re.findall(r"^#+ ", text, re.MULTILINE),
            *re.findall(r"\*\*\d+\.\d+\*\*", text),
            *re.findall(r"^[a-z].* = .*?\)", text, re.MULTILINE),
        ]

    assert facts(chinese) == facts(TEXT)
    assert len(facts(TEXT)) > 40


def test_it_fits_150_lines() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXT, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"`(?:[A-Z_]+=\w+ )?zoo ([a-z]+)", TEXT))))
def test_its_verbs_exist(verb: str, capsys: pytest.CaptureFixture) -> None:
    assert main([verb, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_its_folders_exist() -> None:
    for folder in re.findall(r"^\| `([a-z/]+/)` \|", TEXT, re.MULTILINE):
        assert (ROOT / folder).is_dir()
