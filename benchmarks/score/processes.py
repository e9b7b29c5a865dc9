"""One process for each way to score, driven over pipes: they wait while another is measured."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

from benchmarks.score.contenders import BASE_MODEL, BATCH, Contender, Ours, OverHttp, PlainVllm, Timed, Transformers
from benchmarks.score.memory import peak_bytes, reset_peaks
from benchmarks.score.workloads import WORKLOADS, Workload, make_groups

Run = Callable[..., Timed]
Yardstick = Literal["ours_at_1"]
"""Our engine at temperature 1, untimed: what vLLM as it comes is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a process is asked to run; every process makes the same groups of the same seed."""

    contender: Contender | Yardstick
    workload: Workload
    seed: int


class Forget:
    """Asks a process to drop what it has cached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How it went, and the most memory that the contender's processes held meanwhile."""

    timed: Timed
    peak_bytes: int


class Keeper(Protocol):
    """What a contender keeps of earlier texts."""

    def forget(self) -> None:
        """Drop it."""
        ...


class Fleet:
    """Contenders, each in a process of its own."""

    def __init__(self) -> None:
        """Hold none yet."""
        self._pipes: dict[Contender | Yardstick, Connection] = {}
        self._processes: list[Any] = []

    def start_all(self, home: Path, *, say: Callable[[str], None]) -> None:
        """Start all, one after the other; takes minutes."""
        say("our engine and service")
        address: str = self._start(_serve_ours, home, "ours_in_process", "ours_in_process_rss_only", "ours_at_1")
        self._start(_serve_http, (home, address), "ours_http")
        say("our engine by vLLM's own kernels")
        self._start(_serve_fast, home, "ours_fast", "ours_fast_rss_only")
        say("vLLM as it comes")
        self._start(_serve_plain, home, "vllm_plain")
        say("transformers")
        self._start(_serve_transformers, (home, BATCH), "transformers_batched")
        self._start(_serve_transformers, (home, 1), "one_at_a_time")

    def start_for_memory(self, home: Path, *, say: Callable[[str], None]) -> None:
        """Start our engine, which gives back what memory it does not need for once, and vLLM as it comes."""
        say("our engine, which keeps no memory")
        self._start(_serve_frugal, home, "ours_in_process")
        say("vLLM as it comes")
        self._start(_serve_plain, home, "vllm_plain")

    def run(self, order: Order) -> Answer:
        """Have one contender run; raises RuntimeError with what broke in its process."""
        return self._ask(order.contender, order)

    def forget(self) -> None:
        """Let all drop what they have cached: each computes the next texts whole, also those that others have read."""
        one_of_each: dict[Connection, Contender | Yardstick] = {}
        for name, pipe in self._pipes.items():
            one_of_each[pipe] = name
        for name in one_of_each.values():
            self._ask(name, Forget())

    def _ask(self, name: Contender | Yardstick, order: "Order | Forget") -> Any:
        pipe = self._pipes[name]
        pipe.send(order)
        answer = pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(f"{name} broke:\n{answer}")
        return answer

    def stop(self) -> None:
        """End all."""
        for pipe in self._pipes.values():
            pipe.close()
        for process in self._processes:
            process.join(timeout=120)
            if process.is_alive():
                process.kill()

    def _start(self, target: Callable[..., None], argument: Any, *names: Contender | Yardstick) -> Any:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # Not daemonic: engines start processes of their own.
        process = context.Process(target=target, args=(argument, theirs), name=names[0])
        process.start()
        theirs.close()
        self._processes.append(process)
        ready = ours.recv()
        if isinstance(ready, Exception):
            raise ready
        self._pipes |= dict.fromkeys(names, ours)
        return ready


def _serve_ours(home: Path, pipe: Connection) -> None:
    ours = Ours(home, scoring_math="exact")
    runs: dict[str, Run] = {
        "ours_in_process": ours.runner(rss_only=False),
        "ours_in_process_rss_only": ours.runner(rss_only=True),
        "ours_at_1": ours.runner(rss_only=False, temperature=1.0),
    }
    _serve(home, pipe, ours, runs, ready=ours.address)
    ours.stop()


def _serve_frugal(home: Path, pipe: Connection) -> None:
    """Serve with glibc's own thresholds: memory that stays with the engine would hide what a request needs."""
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": str(2**17), "MALLOC_TRIM_THRESHOLD_": str(2**17)}
    _serve_ours(home, pipe)


def _serve_fast(home: Path, pipe: Connection) -> None:
    ours = Ours(home, scoring_math="fast")
    runs: dict[str, Run] = {"ours_fast": ours.runner(rss_only=False), "ours_fast_rss_only": ours.runner(rss_only=True)}
    _serve(home, pipe, ours, runs, ready="")
    ours.stop()


def _serve_http(argument: tuple[Path, str], pipe: Connection) -> None:
    home, address = argument
    client = OverHttp(address)
    _serve(home, pipe, client, {"ours_http": client.run}, ready="")
    client.stop()


def _serve_plain(home: Path, pipe: Connection) -> None:
    plain = PlainVllm(home)
    _serve(home, pipe, plain, {"vllm_plain": plain.run}, ready="")
    plain.stop()


def _serve_transformers(argument: tuple[Path, int], pipe: Connection) -> None:
    home, batch = argument
    model = Transformers(home, batch=batch)
    name = "one_at_a_time" if batch == 1 else "transformers_batched"
    _serve(home, pipe, model, {name: model.run}, ready="")


def _serve(home: Path, pipe: Connection, keeper: Keeper, runs: dict[str, Run], *, ready: str) -> None:
    """Answer orders until the pipe is closed."""
    import traceback

    from rlt_service.engine.models import resolve_model
    from rlt_tokens import load_codec

    codec = load_codec(resolve_model(BASE_MODEL, state_folder=home))
    small = Workload(
        name="warm-up", questions=1, explanations=2, question_tokens=120, explanation_tokens=30, solution_tokens=10
    )
    for run in runs.values():
        run(make_groups(small, codec=codec, seed=0), sampled=None)
    pipe.send(ready)
    while True:
        try:
            order: Order | Forget = pipe.recv()
        except EOFError:
            return
        try:
            if isinstance(order, Forget):
                keeper.forget()
                pipe.send(None)
                continue
            groups = make_groups(order.workload, codec=codec, seed=order.seed)
            reset_peaks()
            timed = runs[order.contender](groups, sampled=order.workload.sampled)
            pipe.send(Answer(timed=timed, peak_bytes=peak_bytes()))
        except Exception:  # the process's boundary: the parent says it
            pipe.send(traceback.format_exc())


__all__ = ["WORKLOADS", "Answer", "Fleet", "Order"]
