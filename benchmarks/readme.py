"""Puts the kept figures into the marked places of pages: `python -m benchmarks.readme`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.compression import tables

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "README.zh-CN.md", "docs/speed.md", "docs/serving.md", "docs/compression.md")

CHINESE = {
    "model": "模型",
    "data set": "数据集",
    "metric": "指标",
    "mean": "均值",
    "each seed": "各随机种子",
    "baseline": "基线",
    "parameters": "参数量",
    "epochs": "轮数",
}


def main() -> None:
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(name, page.read_text(encoding="utf-8")), encoding="utf-8")


def filled(name: str, text: str) -> str:
    """A page's text with every marked place made anew from `benchmarks/results/`."""
    contents = (
        ("demo", demo()),
        ("results", results("zh" in name)),
        ("speed", speed()),
        ("serving", serving()),
        ("compression", compression()),
        ("compression-peers", compression_peers()),
    )
    for mark, content in contents:
        pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
        text = pattern.sub(lambda marks, new=content: f"{marks[1]}{new}\n{marks[2]}", text)
    return text


def demo() -> str:
    """What `make demo MODEL=cnn` printed last, without the progress."""
    return f"```\n{(record.RESULTS / 'demo.txt').read_text(encoding='utf-8').strip()}\n```"


def results(chinese: bool = False) -> str:
    kept = record.read("models")
    names = [CHINESE[name] if chinese else name for name in CHINESE]
    lines = [f"| {' | '.join(names)} |", "|---|---|---|---|---|---|---|---|"]
    for row in kept["rows"]:
        places = 4 if abs(row["mean"]) < 1 else 2
        each = " ".join(f"{value:.{places}f}" for value in row["values"])
        baseline = row.get("baseline", {}).get(row["metric"].split()[-1])
        lines.append(
            f"| `{row['model']}` | {row['data_set']} | {row['metric']} "
            f"| **{row['mean']:.{places}f}** | {each} "
            f"| {'' if baseline is None else f'{baseline:.{places}f}'} "
            f"| {row['parameters']:,} | {row['epochs']} |"
        )
    order = "随机种子依次为 0、1、2" if chinese else "Seeds 0, 1, 2 in this order"
    lines += ["", f"{order}; {machine(kept['machine'])}."]
    return "\n".join(lines)


def speed() -> str:
    kept = record.read("train")
    lines = [
        "| model | batch | plain fit | zoo train | best bare loop | zoo / plain | zoo / bare "
        "| zoo / bare without metrics |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in kept["rows"]:
        best = row["best bare"]
        lines.append(
            f"| `{row['model']}` | {row['batch']} | {row['plain fit']:,.0f} "
            f"| {row['zoo train']:,.0f} | {row[best]:,.0f} ({best}) "
            f"| **{row['zoo / plain']:.2f}** | **{row['zoo / best bare']:.2f}** "
            f"| {row['zoo / no metrics']:.2f} |"
        )
    fewest = min(row["rounds"] for row in kept["rows"])
    lines += [
        "",
        f"Medians of {fewest} or more interleaved rounds, of ratios within each round; "
        f"{machine(kept['machine'])}.",
    ]
    return "\n".join(lines)


def serving() -> str:
    """Requests a second with 4 connections, each of our servers beside TensorFlow Serving's."""
    kept = record.read("serving")
    there = kept["tensorflow_serving"]
    peers = {
        (row["model"], row["batch"], row["protocol"]): row["requests_per_second"]
        for row in there["rows"]
    }
    lines = [
        "| model | rows | protocol | server | requests/s | p50 ms | p99 ms | of the limit "
        "| TensorFlow Serving |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in kept["rows"]:
        if row["connections"] != there["connections"]:
            continue
        low, high = peers[row["model"], row["batch"], row["protocol"]]
        lines.append(
            f"| `{row['model']}` | {row['batch']} | {row['protocol']} | {row['server']} "
            f"| **{row['requests_per_second']:,.0f}** | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} "
            f"| {row['of_limit']:.2f} | {low:,}–{high:,} |"
        )
    rounds = {len(row["rounds"]) for row in kept["rows"]}
    lines += [
        "",
        f"{there['connections']} connections, medians of {min(rounds)} interleaved rounds of "
        f"{kept['seconds']} s, client and server on the same cores; {machine(kept['machine'])}. "
        f"TensorFlow Serving's figures were {there['machine']}.",
    ]
    return "\n".join(lines)


def compression() -> str:
    """What compressed versions reach of what is asked for, in process and as served."""
    kept = _kept_compression()
    if not kept["rows"]:
        return "Not measured yet."
    fewest = min(row["rounds"] for row in kept["rows"])
    lines = [
        *tables.markdown(tables.COLUMNS, tables.targets(kept["rows"])),
        "",
        f"Against {kept['baseline']}; medians of {fewest} or more interleaved rounds, one thread "
        f"calling; accuracy on the test split; {machine(kept['machine'])}.",
    ]
    return "\n".join(lines)


def compression_peers() -> str:
    """Every measured version, peers among them, which peers there are not, and distillation."""
    kept = _kept_compression()
    if not kept["rows"]:
        return "Not measured yet."
    lines = tables.markdown(tables.PEER_COLUMNS, tables.versions(kept["rows"]))
    for reason, names in _missing(kept["rows"]).items():
        lines += ["", f"Not there: {', '.join(names)}: {reason}."]
    if kept["distilled"]:
        cells = tables.distilled(kept["distilled"])
        lines += ["", *tables.markdown(tables.DISTILLED_COLUMNS, cells)]
    return "\n".join(lines)


def _missing(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Why a peer could not be had → its name with the models' names."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for peer, reason in row["missing"].items():
            found.setdefault(reason.rstrip("."), []).append(f"{peer} of `{row['name']}`")
    return found


def _kept_compression() -> dict[str, Any]:
    try:
        return record.read("compression")
    except FileNotFoundError:
        return {"rows": [], "distilled": []}


def machine(about: dict[str, Any]) -> str:
    return (
        f"{about['cpu']}, {about['cores']} cores, no GPU, Python {about['python']}, "
        f"TensorFlow {about['tensorflow']}, Keras {about['keras']}, {about['date']}"
    )


if __name__ == "__main__":
    main()
