"""wrk and h2load: run for some seconds; what they found. An answer that failed is an error."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.serving import asking
from benchmarks.serving.cases import (
    HOST,
    METHOD,
    Case,
    FailedAnswers,
    Measured,
    Question,
    Target,
    measured,
)

# Gets a server, a load, its request, the length of a right gRPC answer, and seconds.
Tool = Callable[[Target, Case, Question, int, int], Measured]

# Times of wrk are in microseconds.
_WRK_SCRIPT = """
wrk.method = "POST"
wrk.body = io.open("body", "rb"):read("*a")
done = function(summary, latency)
  local e = summary.errors
  print(string.format(
    '\\nRESULT {"requests": %d, "duration": %d, "p50": %d, "p99": %d, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def choose(protocol: str, *, own: bool = False) -> tuple[str, Tool]:
    """The tool for a protocol and its name: the installed one, or the project's own clients."""
    name, tool = ("wrk", wrk) if protocol == "REST" else ("h2load", h2load)
    if own or shutil.which(name) is None:
        return "own clients", _own
    return name, tool


def wrk(target: Target, case: Case, question: Question, _: int, seconds: int) -> Measured:
    """REST. One thread of clients.

    Raises:
        FailedAnswers: an answer that is not 2xx, a connection that broke or timed out.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "body").write_bytes(question.json)
        Path(folder, "ask.lua").write_text(_WRK_SCRIPT, encoding="utf-8")
        url = f"http://{HOST}:{target.rest_port}{question.path}"
        counts = ["-t1", f"-c{case.connections}", f"-d{seconds}s"]
        text = _output(["wrk", *counts, "-s", "ask.lua", url], folder, seconds)
    line = re.search(r"^RESULT (.*)$", text, re.MULTILINE)
    found = json.loads(line[1]) if line else {"failed": text}
    if found["failed"] or not found["requests"]:
        raise FailedAnswers(f"{case}: wrk saw failures: {found}")
    rate = found["requests"] / found["duration"] * 1e6
    return Measured(rate, found["p50"] / 1000, found["p99"] / 1000)


def h2load(
    target: Target, case: Case, question: Question, answer_bytes: int, seconds: int
) -> Measured:
    """gRPC: one stream at a time on each connection.

    A call that fails has HTTP status 200 as well, and no message. So the messages' bytes are
    counted: there must be as many as this number of right answers has.

    Raises:
        FailedAnswers: another status, another number of bytes, a connection that broke.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "body").write_bytes(question.framed)
        url = f"http://{HOST}:{target.grpc_port}{METHOD}"
        text = _output(
            ["h2load", "-t1", "-m1", f"-c{case.connections}", f"--duration={seconds}s",
             "--log-file=log", "--data=body", "-H", "content-type: application/grpc",
             "-H", "te: trailers", url], folder, seconds,
        )  # fmt: skip
        lines = Path(folder, "log").read_text(encoding="ascii").split("\n")[:-1]
    requests = _numbers(r"^requests: .*", text)  # total, started, done, succeeded, failed, …
    data = int((re.search(r"\((\d+)\) data$", text, re.MULTILINE) or ["", "0"])[1])
    short = requests.get("succeeded", 0) * (5 + answer_bytes) - data
    others = [line for line in lines if line.split("\t")[1] != "200"]
    if any(requests.get(kind, 1) for kind in ("failed", "errored", "timeout")) or others or short:
        raise FailedAnswers(f"{case}: h2load saw failures: {requests}, {short} bytes are missing")
    return measured([int(line.split("\t")[2]) / 1e6 for line in lines], seconds)


def _own(target: Target, case: Case, question: Question, _: int, seconds: int) -> Measured:
    return asking.ask(target, case, question, seconds)


def _numbers(pattern: str, text: str) -> dict[str, int]:
    line = re.search(pattern, text, re.MULTILINE)
    return {name: int(n) for n, name in re.findall(r"(\d+) (\w+)", line[0])} if line else {}


def _output(command: list[str], folder: str, seconds: int) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=seconds + 120, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise FailedAnswers(f"{command[0]} ended with {done.returncode}: {last}")
    return done.stdout


def version(tool: str) -> str:
    """The tool's own words about its version."""
    if shutil.which(tool) is None:
        return "not installed"
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].removeprefix(tool).strip() if done.stdout else "unknown"
