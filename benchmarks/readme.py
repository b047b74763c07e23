"""Puts the kept figures into the README's marked places: `python -m benchmarks.readme`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks import record

README = Path(__file__).parent.parent / "README.md"


def main() -> None:
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """The README's text with every marked place made anew from `benchmarks/results/`."""
    for name, content in (("demo", demo()), ("results", results()), ("speed", speed())):
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = pattern.sub(lambda marks, new=content: f"{marks[1]}{new}\n{marks[2]}", text)
    return text


def demo() -> str:
    """What `make demo MODEL=cnn` printed last, without the progress."""
    return f"```\n{(record.RESULTS / 'demo.txt').read_text(encoding='utf-8').strip()}\n```"


def results() -> str:
    kept = record.read("models")
    lines = [
        "| model | data set | metric | mean | each seed | baseline | parameters | epochs |",
        "|---|---|---|---|---|---|---|---|",
    ]
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
    lines += ["", f"Seeds 0, 1, 2 in this order; {machine(kept['machine'])}."]
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


def machine(about: dict[str, Any]) -> str:
    return (
        f"{about['cpu']}, {about['cores']} cores, no GPU, Python {about['python']}, "
        f"TensorFlow {about['tensorflow']}, Keras {about['keras']}, {about['date']}"
    )


if __name__ == "__main__":
    main()
