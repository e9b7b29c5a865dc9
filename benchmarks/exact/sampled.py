"""Hold the log-probs of sampled tokens against a transformers forward of the same ids, token by token.

python -m benchmarks.exact.sampled --home .rlt --data ../shared/data --out docs/results/sampled
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.exact.figures import TEMPERATURES, TOLERANCE, sampled_figures_of
from benchmarks.exact.items import read_questions
from benchmarks.exact.reference import load_reference, reference_logprobs
from rlt_client.demo import provenance
from rlt_service.engine.factory import create_engine
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import Engine, GenerateRequest
from rlt_service.settings import Settings

BASE_MODEL = "builtin:smollm2-135m"
COMPLETIONS = 4
TOKENS = 96
AT_ONCE = 8
"""Questions that are explained at a time."""


def main() -> None:
    """Read the options, run, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact.sampled")
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--data", type=Path, required=True, help="folder with gsm8k_test, aqua_dev, countdown_train")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl; sampled.json goes beside it")
    parser.add_argument("--count", type=int, default=48, help="questions")
    options = parser.parse_args()
    rows = asyncio.run(_compare(options.home, options.data, count=options.count))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    command = f"python -m benchmarks.exact.sampled --home .rlt --data ../shared/data --out {options.out}"
    figures = {**sampled_figures_of(rows), **facts, "command": command}
    (options.out.parent / "sampled.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _say(json.dumps(figures, indent=1))


async def _compare(home: Path, data: Path, *, count: int) -> list[dict[str, Any]]:
    engine = create_engine(Settings(home=home, base_model=BASE_MODEL))
    await engine.start()
    try:
        prompts = [
            engine.codec.teacher_sequence(question=question, solution=solution).token_ids
            for question, solution in read_questions(data, count=count)
        ]
        model = load_reference(resolve_model(BASE_MODEL, state_folder=home))
        return [row for temperature in TEMPERATURES for row in await _rows(engine, prompts, model, temperature)]
    finally:
        await engine.stop()


async def _rows(
    engine: Engine, prompts: Sequence[Sequence[int]], model: Any, temperature: float
) -> list[dict[str, Any]]:
    """Sample of every prompt, then compare among what may be sampled (docs/decisions/0012); one row a completion."""
    close = engine.codec.format.explanation_close
    never = sorted(engine.codec.control_token_ids - engine.codec.end_token_ids)
    rows: list[dict[str, Any]] = []
    for first in range(0, len(prompts), AT_ONCE):
        some = prompts[first : first + AT_ONCE]
        results = await asyncio.gather(
            *(engine.generate(_request(prompt, temperature, close=close)) for prompt in some)
        )
        for place, (prompt, result) in enumerate(zip(some, results, strict=True), start=first):
            for completion in result.completions:
                ids = [*prompt, *completion.token_ids]
                expected = reference_logprobs(model, ids, start=len(prompt), temperatures=(temperature,), never=never)[
                    temperature
                ]
                differences = [abs(a - b) for a, b in zip(expected, completion.logprobs, strict=True)]
                rows.append(
                    {
                        "question": place,
                        "completion": completion.index,
                        "temperature": temperature,
                        "tokens": len(differences),
                        "largest_difference": max(differences),
                        "over_tolerance": sum(difference > TOLERANCE for difference in differences),
                    }
                )
        _say(f"temperature {temperature}: {first + len(some)} of {len(prompts)} questions compared")
    return rows


def _request(prompt: Sequence[int], temperature: float, *, close: str) -> GenerateRequest:
    return GenerateRequest(
        prompt_token_ids=prompt,
        adapter=None,
        n=COMPLETIONS,
        temperature=temperature,
        top_p=1.0,
        max_tokens=TOKENS,
        seed=None,
        stop_text=close,
    )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
