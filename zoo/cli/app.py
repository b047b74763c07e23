"""Verbs, and the one place where errors become a line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from zoo.cli import ask, browse, compress, data, demo, explain, publish, serve, train
from zoo.errors import ZooError

app = typer.Typer(
    name="zoo",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def help_without_verb(context: typer.Context) -> None:
    """From a Keras builder to a served endpoint, one command a step."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for verb, function in (
    ("list", browse.list_models),
    ("show", browse.show),
    ("datasets", browse.list_datasets),
    ("data", data.data),
    ("train", train.train),
    ("export", publish.export),
    ("compress", compress.compress),
    ("report", compress.report),
    ("config", publish.config),
    ("serve", serve.serve),
    ("sample", publish.sample),
    ("predict", ask.predict),
    ("explain", explain.explain),
    ("demo", demo.demo),
):
    app.command(verb)(function)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    0 done, 1 it failed, 2 it was asked for wrongly, 130 or 143 interrupted.
    """
    try:
        status = app(args=arguments, prog_name="zoo", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except ZooError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _fail(_sentence(error), getattr(error, "exit_code", 2))
    except (typer.Abort, KeyboardInterrupt):
        return _fail("Interrupted.", 130)
    except BrokenPipeError:  # `zoo list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}.", 1)


def _sentence(error: typer.TyperException) -> str:
    words = error.format_message() if hasattr(error, "format_message") else str(error)
    message = " ".join(words.split())
    message = message if message.endswith((".", "?")) else f"{message}."
    context = getattr(error, "ctx", None)
    return f"{message} See {context.command_path} --help." if context else message


def _fail(sentence: str, status: int) -> int:
    # A server's own words may fill several lines.
    print(f"Error: {' '.join(sentence.split())}", file=sys.stderr)  # noqa: T201
    return status
