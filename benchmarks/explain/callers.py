"""Callers of the two servers: the same prompts, streamed; when the first text came, and how many tokens in all."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from benchmarks.servers import MODEL_NAME
from rlt_client.demo.questions import Question
from rlt_core.tokens import SequenceCodec


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many callers at once, how many explanations each wants, how long."""

    name: str
    callers: int
    n: int
    max_tokens: int
    temperature: float = 0.7
    times: int = 1
    """Runs on each server in a repeat, each with other questions."""


LOADS = (
    # Greedy, so that both write the same tokens: of a few drawn ones each its own number would decide the rate.
    Load(name="one", callers=1, n=1, max_tokens=96, temperature=0.0, times=4),
    Load(name="n8", callers=1, n=8, max_tokens=64, times=4),
    Load(name="callers8", callers=8, n=1, max_tokens=64, times=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds to the first text (mean over callers), seconds and generated tokens of all callers."""

    first_text_s: float
    seconds: float
    tokens: int


class Caller(Protocol):
    """One streamed call."""

    def call(self, question: Question, load: Load, *, seed: int) -> tuple[float, int]:
        """Give seconds to the first text, and the number of generated tokens."""
        ...


def measure(caller: Caller, questions: list[Question], load: Load, *, seed: int) -> Measured:
    """Let all callers of the load call at once."""
    before = time.perf_counter()
    with ThreadPoolExecutor(max_workers=load.callers) as pool:
        done = list(pool.map(lambda place: caller.call(questions[place], load, seed=seed + place), range(load.callers)))
    seconds = time.perf_counter() - before
    return Measured(
        first_text_s=sum(first for first, _ in done) / len(done), seconds=seconds, tokens=sum(n for _, n in done)
    )


class OurCaller:
    """Calls /v1/explain with `stream`."""

    def __init__(self, address: str) -> None:
        """Keep connections."""
        self._client = httpx.Client(base_url=address, timeout=600.0)

    def call(self, question: Question, load: Load, *, seed: int) -> tuple[float, int]:
        """Read events until `done`, whose usage counts the tokens."""
        body = {
            "question": question.question,
            "solution": question.solution,
            "n": load.n,
            "max_tokens": load.max_tokens,
            "temperature": load.temperature,
            "seed": seed,
            "stream": True,
        }
        before, first, usage = time.perf_counter(), None, None
        with self._client.stream("POST", "/v1/explain", json=body) as response:
            _check(response)
            for event, data in _events(response):
                if event == "error":
                    raise RuntimeError(f"the stream broke: {data}")
                if event == "delta" and first is None:
                    first = time.perf_counter() - before
                if event == "done":
                    usage = json.loads(data)["usage"]
        if usage is None:
            raise RuntimeError("the stream ended without `done`")
        return first if first is not None else time.perf_counter() - before, usage["completion_tokens"]


class VllmCaller:
    """Calls vLLM's /v1/completions with the same prompt ids, `stream` and the closing tag as stop."""

    def __init__(self, address: str, *, codec: SequenceCodec) -> None:
        """Keep connections; the codec writes the prompts that our service would."""
        self._client = httpx.Client(base_url=address, timeout=600.0)
        self._codec = codec

    def call(self, question: Question, load: Load, *, seed: int) -> tuple[float, int]:
        """Read chunks until [DONE]; the last one's usage counts the tokens."""
        prompt = self._codec.teacher_sequence(question=question.question, solution=question.solution).token_ids
        body = {
            "model": MODEL_NAME,
            "prompt": list(prompt),
            "n": load.n,
            "max_tokens": load.max_tokens,
            "temperature": load.temperature,
            "seed": seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            "stop": [self._codec.format.explanation_close],
            "include_stop_str_in_output": True,
            "logprobs": 0,
        }
        before, first, usage = time.perf_counter(), None, None
        with self._client.stream("POST", "/v1/completions", json=body) as response:
            _check(response)
            for _, data in _events(response):
                if data == "[DONE]":
                    continue
                chunk: dict[str, Any] = json.loads(data)
                if first is None and any(choice["text"] for choice in chunk["choices"]):
                    first = time.perf_counter() - before
                usage = chunk.get("usage") or usage
        if usage is None:
            raise RuntimeError("the stream ended without usage")
        return first if first is not None else time.perf_counter() - before, usage["completion_tokens"]


def _check(response: httpx.Response) -> None:
    if response.status_code != 200:
        raise RuntimeError(f"{response.status_code}: {response.read().decode(errors='replace')[:500]}")


def _events(response: httpx.Response) -> Iterator[tuple[str, str]]:
    """Read server-sent events: name (empty where there is none) and data."""
    name, data = "", ""
    for line in response.iter_lines():
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()
        elif not line and data:
            yield name, data
            name, data = "", ""
