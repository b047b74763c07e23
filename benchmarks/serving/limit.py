"""The most that a server could reach on this machine: its session in a loop, nothing around it."""

from __future__ import annotations

import threading
import time

from benchmarks.serving.cases import INPUT, Question
from serving.server.servable import Servable


def limit(servable: Servable, question: Question, threads: int, seconds: float) -> float:
    """Calls a second of `serving_default`, all threads together, each with the same rows."""
    signature, feeds = servable.signatures["serving_default"], {INPUT: question.rows}
    began = time.perf_counter()
    counts = [0] * threads
    ends = [began] * threads

    def loop(index: int) -> None:
        while ends[index] - began < seconds:
            servable.run(signature, feeds)
            counts[index] += 1
            ends[index] = time.perf_counter()

    others = [threading.Thread(target=loop, args=(index,)) for index in range(1, threads)]
    for thread in others:
        thread.start()
    loop(0)
    for thread in others:
        thread.join()
    return sum(counts) / (max(ends) - began)
