"""The ways to score that the benchmark compares; each lives in a process of its own and says how long it took."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from benchmarks.score.workloads import GIVEN_LOGPROB, Group, Item
from rlt_service.engine.machine import thread_binding
from rlt_service.engine.models import resolve_model
from rlt_service.engine.vllm_environment import vllm_environment

BASE_MODEL = "builtin:smollm2-135m"
BATCH = 8
"""Sequences of one padded batch of transformers; more was not faster on two cores."""
TEMPERATURE = 0.7

Contender = Literal[
    "ours_in_process",
    "ours_in_process_rss_only",
    "ours_http",
    "ours_fast",
    "ours_fast_rss_only",
    "vllm_plain",
    "transformers_batched",
    "one_at_a_time",
]
CONTENDERS: tuple[Contender, ...] = get_args(Contender)
ScoringMath = Literal["exact", "fast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One run: seconds, tokens of all sequences (a shared prefix counts in each), and what was found, as a check."""

    seconds: float
    tokens: int
    solution_mean: float
    """Mean log-prob of the solutions' tokens at temperature 1 or 0.7, as the contender can."""
    found: tuple[tuple[float, ...], ...]
    """Of each sequence, in the order asked, what `checks.py` compares."""


class Scoring(Protocol):
    """A contender that has started."""

    def run(self, groups: Sequence[Group], *, sampled: int | None) -> Timed:
        """Score the groups' sequences, or the first `sampled`."""
        ...

    def forget(self) -> None:
        """Drop what was kept of earlier texts, so that the next run computes all of its own."""
        ...

    def stop(self) -> None:
        """End what was started."""
        ...


class PlainVllm:
    """What one writes on vLLM as it comes: `LLM.generate` with prompt_logprobs=0, both cores, float32."""

    def __init__(self, home: Path, **more: Any) -> None:
        """Start vLLM's own engine with its defaults for a CPU, and `more` of its arguments."""
        with vllm_environment(home):
            from vllm import LLM, SamplingParams

            folder = resolve_model(BASE_MODEL, state_folder=home)
            self._llm = LLM(
                model=str(folder),
                dtype="float32",
                max_model_len=2304,
                enforce_eager=True,
                kv_cache_memory_bytes=2**30,
                disable_log_stats=True,
                **more,
            )
        self._params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)

    def run(self, groups: Sequence[Group], *, sampled: int | None) -> Timed:
        """Score all as one call of generate."""
        del sampled  # vLLM may share prefixes: it gets all
        items = _items(groups, None)
        prompts: Any = [{"prompt_token_ids": list(item.token_ids)} for item in items]
        before = time.perf_counter()
        outputs = self._llm.generate(prompts, self._params, use_tqdm=False)
        found = [
            [position[token].logprob for position, token in zip(_given(output)[1:], item.token_ids[1:], strict=True)]
            for output, item in zip(outputs, items, strict=True)
        ]
        return _timed(before, items, [_cut(values, item) for values, item in zip(found, items, strict=True)])

    def forget(self) -> None:
        """Drop what lies in the prefix cache."""
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("the prefix cache is in use: nothing may run beside the benchmark")

    def call(self, name: str) -> Any:
        """Call a method of the worker."""
        return self._llm.collective_rpc(name)[0]

    def stop(self) -> None:
        """End vLLM's processes."""
        self._llm.llm_engine.engine_core.shutdown()


class Transformers:
    """A float32 forward of transformers: padded batches, or (`batch` 1) one sequence after the other."""

    def __init__(self, home: Path, *, batch: int) -> None:
        """Load the model with as many threads as there are cores."""
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(len(thread_binding().split(",")))
        self._torch = torch
        self._batch = batch
        folder = resolve_model(BASE_MODEL, state_folder=home)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def run(self, groups: Sequence[Group], *, sampled: int | None) -> Timed:
        """Score in batches of similar length, logits of every position, as the reference code does."""
        items = _items(groups, sampled)
        before = time.perf_counter()
        places = sorted(range(len(items)), key=lambda place: len(items[place].token_ids))
        found: dict[int, list[float]] = {}
        with self._torch.inference_mode():
            for first in range(0, len(items), self._batch):
                some = places[first : first + self._batch]
                found |= zip(some, self._forward([items[place] for place in some]), strict=True)
        return _timed(before, items, [found[place] for place in range(len(items))])

    def forget(self) -> None:
        """Do nothing: no call leaves anything to the next."""

    def stop(self) -> None:
        """Nothing runs beside this process."""

    def _forward(self, items: Sequence[Item]) -> list[list[float]]:
        torch = self._torch
        longest = max(len(item.token_ids) for item in items)
        ids_GT = torch.zeros((len(items), longest), dtype=torch.int64)
        mask_GT = torch.zeros_like(ids_GT)
        for row, item in enumerate(items):
            ids_GT[row, : len(item.token_ids)] = torch.tensor(item.token_ids)
            mask_GT[row, : len(item.token_ids)] = 1
        logits_GTV = self._model(input_ids=ids_GT, attention_mask=mask_GT).logits[:, :-1] / TEMPERATURE
        chosen_GT = logits_GTV.gather(2, ids_GT[:, 1:, None])[..., 0] - logits_GTV.logsumexp(dim=-1)
        return [_cut(values.tolist(), item) for values, item in zip(chosen_GT, items, strict=True)]


class Ours:
    """Our engine: in process by `engine.score`, or behind /v1/score of a server in this process, over loopback."""

    def __init__(self, home: Path, *, scoring_math: ScoringMath) -> None:
        """Start the engine and, on the same one, the service."""
        from benchmarks.score.server import EngineAndServer

        self._both = EngineAndServer(home=home, base_model=BASE_MODEL, scoring_math=scoring_math)

    @property
    def address(self) -> str:
        """Where the service answers."""
        return self._both.address

    def forget(self) -> None:
        """Drop what lies in the prefix cache."""
        self._both.forget()

    def runner(self, *, rss_only: bool, temperature: float = TEMPERATURE) -> Callable[..., Timed]:
        """Give the in-process run for the full reward, or for r_SS alone."""

        def run(groups: Sequence[Group], *, sampled: int | None) -> Timed:
            del sampled
            items = _items(groups, None)
            before = time.perf_counter()
            return _timed(before, items, self._both.score(items, temperature=temperature, rss_only=rss_only))

        return run

    def stop(self) -> None:
        """End server and engine."""
        self._both.stop()


class OverHttp:
    """A caller of /v1/score: the ids and teacher log-probs of a group go over the wire, the full reward comes back."""

    def __init__(self, address: str) -> None:
        """Keep one connection, as a trainer would."""
        import httpx

        self._client = httpx.Client(base_url=address, timeout=3600.0)

    def run(self, groups: Sequence[Group], *, sampled: int | None) -> Timed:
        """Ask for each group's rewards; several groups go as one batch."""
        del sampled
        items = _items(groups, None)
        bodies = [_body(group) for group in groups]
        before = time.perf_counter()
        if len(bodies) == 1:
            answers = [self._client.post("/v1/score", json=bodies[0]).raise_for_status().json()]
        else:
            batch = self._client.post("/v1/score/batch", json={"items": bodies}).raise_for_status()
            answers = batch.json()["data"]
        seconds = time.perf_counter() - before
        scores = [score for answer in answers for score in answer["scores"]]
        total = math.fsum(score["solution"]["sum"] for score in scores)
        return Timed(
            seconds=seconds,
            tokens=sum(len(item.token_ids) for item in items),
            solution_mean=total / sum(score["solution"]["tokens"] for score in scores),
            found=tuple(_parts(score) for score in scores),
        )

    def forget(self) -> None:
        """Keep nothing here as it is: the engine behind the service forgets."""

    def stop(self) -> None:
        """Close the connection."""
        self._client.close()


def _body(group: Group) -> dict[str, Any]:
    return {
        "question": group.question,
        "solution": group.solution,
        "reward": {"temperature": TEMPERATURE},
        "explanations": [
            {
                "well_formed": False,
                "tokens": {
                    "completion_token_ids": ids,
                    "completion_logprobs": [GIVEN_LOGPROB] * len(ids),
                    "explanation": [0, len(ids)],
                    "temperature": TEMPERATURE,
                },
            }
            for ids in group.explanations
        ],
    }


def _parts(score: Mapping[str, Any]) -> tuple[float, ...]:
    solution, kl = score["solution"], score["kl"]
    return solution["mean"], solution["min"], kl["mean"], kl["max"]


def _given(output: Any) -> list[Any]:
    return output.prompt_logprobs


def _items(groups: Sequence[Group], sampled: int | None) -> list[Item]:
    return list(islice((item for group in groups for item in group.items), sampled))


def _cut(logprobs_from_1: Sequence[float], item: Item) -> list[float]:
    """Keep those from the explanation on, up to the solution's end."""
    return list(logprobs_from_1[item.explanation_start - 1 : item.solution_end - 1])


def _timed(before: float, items: Sequence[Item], found: Sequence[Sequence[float]]) -> Timed:
    """Take the time, and log-probs that end where the solution does."""
    seconds = time.perf_counter() - before
    solutions = [value for values, item in zip(found, items, strict=True) for value in values[-item.solution_tokens :]]
    return Timed(
        seconds=seconds,
        tokens=sum(len(item.token_ids) for item in items),
        solution_mean=math.fsum(solutions) / len(solutions),
        found=tuple(tuple(values) for values in found),
    )
