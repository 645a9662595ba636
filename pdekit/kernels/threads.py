"""One sample a thread: see docs/decisions/0004."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["for_each_sample"]


def for_each_sample(one: Callable[[int, dict], None], batch: int, threads: int | None) -> None:
    """Call one(index, the thread's own dict) for each sample, on as many threads as torch uses."""
    threads = min(torch.get_num_threads() if threads is None else threads, batch)
    ticket = itertools.count()

    def work() -> None:
        spaces: dict = {}
        while (i := next(ticket)) < batch:
            one(i, spaces)

    if threads <= 1:
        work()
        return
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()
