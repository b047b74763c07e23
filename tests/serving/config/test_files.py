"""The configuration files: what is written is what is read, by us and by TensorFlow Serving."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.config import model_server_config_pb2

from serving.config import (
    ModelConfig,
    VersionPolicy,
    parse_models,
    read_batching,
    read_models,
    read_monitoring,
    server_config,
    store_models,
    write,
)
from serving.config.text import BrokenText, UnreadableFile
from serving.errors import ConfigError
from serving.server.source import versions_in

_POLICIES = st.one_of(
    st.just(VersionPolicy("all")),
    st.integers(1, 50).map(lambda count: VersionPolicy("latest", count=count)),
    st.lists(st.integers(0, 2**62), min_size=1, unique=True).map(
        lambda versions: VersionPolicy("specific", versions=tuple(versions))
    ),
)
_LABELS = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(0, 2**62), max_size=3)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two models, and what a store also holds: an unfinished export, files, an empty folder."""
    for folder in ("dense/1", "dense/00000002", "cnn/7", "rnn/.staging-8", "empty", ".hidden/1"):
        (tmp_path / "store" / folder).mkdir(parents=True)
    (tmp_path / "store" / "README").write_text("not a model")
    (tmp_path / "store" / "empty" / "3").write_text("not a version")
    return tmp_path / "store"


def test_lists_the_models_that_have_a_version(store: Path) -> None:
    assert store_models(store) == [
        ModelConfig(name, str(store / name), VersionPolicy("all")) for name in ("cnn", "dense")
    ]


def test_written_files_are_read_back(store: Path, tmp_path: Path) -> None:
    models, batching, monitoring = write(store, tmp_path / "made" / "config")
    assert [path.name for path in (models, batching, monitoring)] == [
        "models.config",
        "batching.config",
        "monitoring.config",
    ]
    assert read_models(models) == store_models(store)
    assert read_batching(batching).max_execution_batch_size.value == 32
    assert read_monitoring(monitoring).prometheus_config.path == "/monitoring/prometheus/metrics"
    assert sorted(path.name for path in models.parent.iterdir()) == [
        "batching.config",
        "models.config",
        "monitoring.config",
    ]


def test_numbers_that_no_message_can_name_are_no_versions(tmp_path: Path) -> None:
    for name in (str(2**63), str(2**63 - 1), "x", "-1"):
        (tmp_path / "m" / name).mkdir(parents=True)
    assert list(versions_in(tmp_path / "m")) == [2**63 - 1]


def test_models_config_is_tensorflow_servings_message(store: Path, tmp_path: Path) -> None:
    text = write(store, tmp_path / "config")[0].read_text()
    message = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    entries = message.model_config_list.config
    assert [entry.name for entry in entries] == ["cnn", "dense"]
    assert all(entry.base_path == str(store / entry.name) for entry in entries)
    assert all(entry.model_platform == "tensorflow" for entry in entries)


def test_paths_inside_a_container(store: Path, tmp_path: Path) -> None:
    models = read_models(write(store, tmp_path / "config", container_base="/models/")[0])
    assert [model.base_path for model in models] == ["/models/cnn", "/models/dense"]


@given(
    st.lists(
        st.builds(
            ModelConfig,
            st.text(min_size=1, max_size=12),
            st.text(max_size=12).map(lambda text: "/" + text),
            _POLICIES,
            _LABELS,
        ),
        unique_by=lambda model: model.name,
        max_size=4,
    )
)
def test_any_configuration_survives_its_text(models: list[ModelConfig]) -> None:
    text = text_format.MessageToString(server_config(models))
    message = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert parse_models(message) == models


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model_config_list { config { nme: 'x' } }", "no field named"),
        ("model_config_list { config { name: 'x' base_path: '/x' } }", "neither"),
        (
            "model_config_list { config { name: 'x' base_path: 'x' model_platform: 'tensorflow' }}",
            "absolute path or URI; got base_path()=x",
        ),
        (
            "model_config_list {"
            + 2 * "config { name: 'x' base_path: '/x' model_platform: 'tensorflow' } "
            + "}",
            "Illegal to list model x multiple times in config list",
        ),
        (
            "model_config_list { config { name: 'x' base_path: '/x' model_platform: 'onnx' } }",
            "Model x requests unsupported platform onnx",
        ),
        (
            "model_config_list { config { name: 'x' base_path: '/x' model_platform: 'tensorflow' "
            "model_type: TENSORFLOW } }",
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform.",
        ),
        (
            "model_config_list { config { name: 'x' base_path: '/x' model_type: OTHER } }",
            "ModelServerConfig::model_type choice 2 not supported.",
        ),
        (  # paths are checked before platforms, and names before either
            "model_config_list { config { name: 'x' base_path: '/x' } config { name: 'y' } }",
            "Expected model y to have an absolute path or URI; got base_path()=",
        ),
        ("", "cannot be read: Invalid argument"),
    ],
)
def test_broken_models_config_is_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "models.config"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_models(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_keeps_its_platform() -> None:
    message = server_config([ModelConfig("x", "/x")])
    message.model_config_list.config[0].model_platform = "caffe"
    with pytest.raises(ConfigError) as caught:
        parse_models(message, {"x"})
    assert str(caught.value) == (
        "Illegal to change a model's platform. For model x platform was tensorflow and new "
        "platform requested is caffe"
    )


@pytest.mark.parametrize(
    ("text", "native"),
    [
        (
            'model_config_list { config { nme: "m" } }',
            '1:33: Message type "tensorflow.serving.ModelConfig" has no field named "nme".',
        ),
        (
            "# none\ngarbage # of ours\n",
            '3:1: Message type "tensorflow.serving.ModelServerConfig" has no field named '
            '"garbage".',
        ),
        ("model_config_list { config { name: 5 } }", "1:36: Expected string, got: 5"),
        ("model_config_list: 5", '1:20: Expected "{", found "5".'),
        ("model_config_list {\n  config {", "2:11: Expected identifier, got: "),
        (
            'model_config_list { config { name: "a" } } custom_model_config {}',
            '1:64: Field "custom_model_config" is specified along with field "model_config_list", '
            'another member of oneof "config".',
        ),
    ],
)
def test_broken_text_in_the_words_of_the_native_parser(
    tmp_path: Path, text: str, native: str
) -> None:
    path = tmp_path / "models.config"
    path.write_text(text)
    with pytest.raises(BrokenText) as caught:
        read_models(path)
    start = "Error parsing text-format tensorflow.serving.ModelServerConfig: "
    assert caught.value.native == start + native
    assert caught.value.invalid == f"Invalid protobuf file: '{path}'"


def test_files_that_cannot_be_read_have_their_status(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path, code, native in (
        (tmp_path / "none", "NOT_FOUND", "No such file or directory"),
        (tmp_path / "empty", "INVALID_ARGUMENT", "Invalid argument"),
        (tmp_path, "NOT_FOUND", "No such device"),
        (tmp_path / "empty" / "x", "FAILED_PRECONDITION", "Not a directory"),
    ):
        with pytest.raises(UnreadableFile) as caught:
            read_models(path)
        assert (caught.value.code, caught.value.native) == (code, f"{path}; {native}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 4", "match"),
        ("max_batch_size { value: 2 } allowed_batch_sizes: 4 allowed_batch_sizes: 2", "increasing"),
        ("max_batch_size: 8", "batching.config is not a valid BatchingParameters file"),
    ],
)
def test_broken_batching_config(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read_batching(path)


def test_missing_files_and_stores_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_models(tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot be read"):
        store_models(tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_monitoring(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write(tmp_path, tmp_path / "file" / "config")


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (VersionPolicy(), [9]),
        (VersionPolicy("latest", count=2), [9, 4]),
        (VersionPolicy("all"), [9, 4, 1]),
        (VersionPolicy("specific", versions=(1, 4, 5)), [4, 1]),
    ],
)
def test_policies(policy: VersionPolicy, chosen: list[int]) -> None:
    assert policy.choose([4, 9, 1]) == chosen


def test_configuration_and_client_do_not_import_tensorflow() -> None:
    code = (
        "import sys, serving, serving.config, serving.client, serving.container, serving.server;"
        "print([m for m in ('tensorflow', 'keras', 'httpx', 'grpc') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
