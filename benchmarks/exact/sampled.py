"""Hold the log-probs of sampled tokens against a transformers forward of the same ids, token by token.

Those that were sampled with top_p 1 are compared among what may be sampled (docs/decisions/0012), and over the whole
vocabulary too, to show how far the two are. With `top_p` below 1 the API gives log-probs over the whole vocabulary.

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
from rlt_core.schemas.explain import ExplainRequest
from rlt_service.engine.factory import create_engine
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import Completion, Engine
from rlt_service.served import ServedVersion
from rlt_service.settings import Settings
from rlt_service.teacher.generation import Generation, encode_prompt

BASE_MODEL = "builtin:smollm2-135m"
TOP_P = 0.9
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
        questions = read_questions(data, count=count)
        model = load_reference(resolve_model(BASE_MODEL, state_folder=home))
        rows: list[dict[str, Any]] = []
        for temperature in TEMPERATURES:
            for top_p in (1.0, TOP_P):
                rows += await _rows(engine, questions, model, temperature=temperature, top_p=top_p)
        return rows
    finally:
        await engine.stop()


async def _rows(
    engine: Engine, questions: Sequence[tuple[str, str]], model: Any, *, temperature: float, top_p: float
) -> list[dict[str, Any]]:
    """Sample of every prompt as /v1/explain does, then compare; one row a completion."""
    banned = sorted(engine.codec.control_token_ids - engine.codec.end_token_ids)
    rows: list[dict[str, Any]] = []
    for first in range(0, len(questions), AT_ONCE):
        asked = [
            _generation(engine, question, solution, temperature=temperature, top_p=top_p)
            for question, solution in questions[first : first + AT_ONCE]
        ]
        made = await asyncio.gather(*map(_completions, asked))
        for place, (generation, completions) in enumerate(zip(asked, made, strict=True), start=first):
            for completion in completions:
                among, whole = (_differences(model, generation, completion, never=never) for never in (banned, []))
                promised = among if top_p == 1.0 else whole
                rows.append(
                    {
                        "question": place,
                        "completion": completion.index,
                        "temperature": temperature,
                        "top_p": top_p,
                        "tokens": len(promised),
                        "largest_difference": max(promised),
                        "over_tolerance": sum(difference > TOLERANCE for difference in promised),
                        "largest_from_whole_vocabulary": max(whole),
                    }
                )
        _say(f"temperature {temperature}, top_p {top_p}: {first + len(asked)} of {len(questions)} questions compared")
    return rows


async def _completions(generation: Generation) -> list[Completion]:
    """Sample, and have the log-probs as the service gives them."""
    made = await generation.engine.generate(generation.asked)
    return await generation.with_own_logprobs(made.completions)


def _differences(model: Any, generation: Generation, completion: Completion, *, never: Sequence[int]) -> list[float]:
    temperature, start = generation.request.temperature, len(generation.prompt)
    ids = [*generation.prompt, *completion.token_ids]
    expected = reference_logprobs(model, ids, start=start, temperatures=(temperature,), never=never)[temperature]
    return [abs(a - b) for a, b in zip(expected, completion.logprobs, strict=True)]


def _generation(engine: Engine, question: str, solution: str, *, temperature: float, top_p: float) -> Generation:
    request = ExplainRequest(
        question=question,
        solution=solution,
        n=COMPLETIONS,
        temperature=temperature,
        top_p=top_p,
        max_tokens=TOKENS,
        include=["tokens"],
    )
    teacher = ServedVersion(version="base@0", base_model=BASE_MODEL, adapter=None)
    return Generation(request=request, teacher=teacher, engine=engine, prompt=encode_prompt(request, engine))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
