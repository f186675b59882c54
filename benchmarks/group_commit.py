"""Single events from many threads through ``lake.writer()``: durable events a second, and how long a thread waits for its receipt.

There is no peer. ``8 threads`` and ``64 threads`` hand over one event, wait for its receipt and
hand over the next, as a service does that answers each request when its event is durable.
*Pipelined* threads hand over one event after the other and wait for all receipts at the end.
"""

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from append import ORIGIN
from data import Setting, emptied, scratch
from measure import Row, percentile, settle

import eventlake as el

Event = dict[str, Any]


def single(number: int) -> Event:
    """An event as a service makes it: text and a Python value."""
    return {
        "id": f"payment-{number:08d}",
        "source": "/gateway/payments",
        "type": "payment.received",
        "subject": f"/loan/{number % 5_000:06d}",
        "time": f"2026-01-{number % 28 + 1:02d}T12:{number % 60:02d}:00Z",
        "data": {
            "amount": f"{number % 900 + 10}.50",
            "currency": "EUR",
            "method": "card",
            "instalment": number % 12 + 1,
        },
    }


def waiting(writer: Any, events: list[Event], times: list[float]) -> None:
    """A thread that waits for each receipt."""
    for event in events:
        started = time.perf_counter()
        writer.append([event]).result()
        times.append(time.perf_counter() - started)


def pipelined(writer: Any, events: list[Event], times: list[float]) -> None:
    """A thread that waits at the end; the time of an event is from handing it over until its future was done."""
    futures: list[Future[Any]] = []
    for event in events:
        started = time.perf_counter()
        futures.append(writer.append([event]))
        futures[-1].add_done_callback(
            lambda _, started=started: times.append(time.perf_counter() - started)
        )
    for future in futures:
        future.result()


def run(
    folder: Path, threads: int, each: int, work: Callable[[Any, list[Event], list[float]], None]
) -> tuple[float, float, float]:
    """Events a second, p50 and p99 in milliseconds, of one run in a new lake."""
    lake = el.create(emptied(folder), ORIGIN)
    shares = [[single(number * each + at) for at in range(each)] for number in range(threads)]
    times: list[float] = []
    settle()
    with lake.writer() as writer:
        workers = [threading.Thread(target=work, args=(writer, share, times)) for share in shares]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        wall = time.perf_counter() - started
    assert lake.watermark == threads * each == len(times)
    return threads * each / wall, percentile(times, 50) * 1e3, percentile(times, 99) * 1e3


def row(setting: Setting) -> Row:
    """Measures the row."""
    rounds = setting.times(5)
    result = Row(
        "group_commit",
        "single events from many threads share commits; each future resolves when its event is durable",
    )
    plans = (
        ("8 threads, each waiting", 8, setting.size(500, 50), waiting, 800, 20),
        ("64 threads, each waiting", 64, setting.size(300, 30), waiting, 4_000, 20),
        ("4 threads, pipelined futures", 4, setting.size(25_000, 2_500), pipelined, 20_000, None),
    )
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name, *_ in plans}
    with scratch() as folder:
        run(folder / "lake", 4, 50, waiting)
        for _ in range(rounds):
            for name, threads, each, work, _, _ in plans:
                runs[name].append(run(folder / "lake", threads, each, work))
    for name, _, _, _, per_second, p99 in plans:
        rate, median, slow = (statistics.median(values) for values in zip(*runs[name], strict=True))
        result.add(f"{name}: durable events/s", "", rate, "events/s", per_second, at_most=False)
        result.add(f"{name}: p99 until the receipt", "", slow, "ms", p99)
        result.add(f"{name}: p50 until the receipt", "", median, "ms")
        told = (f"{rate:,.0f} events/s, p99 {slow:.1f} ms" for rate, _, slow in runs[name])
        result.note(
            f"{name}, {threads_and_events(plans, name)}, round by round: {'; '.join(told)}."
        )
    result.note(
        f"lake.writer() with its defaults; {rounds} rounds in turns, each in a new lake; medians. Events are dicts with text and a dict."
    )
    return result


def threads_and_events(plans: tuple[Any, ...], name: str) -> str:
    """How large a run was."""
    return next(f"{threads} x {each:,} events" for plan, threads, each, *_ in plans if plan == name)
