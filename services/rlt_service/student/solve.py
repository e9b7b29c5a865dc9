"""Own the use case of /v1/solve: a student thinks a question through and solves it, with nobody to help. No HTTP."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from rlt_core.errors import PromptTooLongError
from rlt_core.schemas.base import EngineRef, new_id, now_utc
from rlt_core.schemas.explain import ExplainUsage
from rlt_core.schemas.solve import Solution, SolutionTokens, SolveRequest, SolveResponse
from rlt_core.solutions import read_solution
from rlt_core.tokens import SequenceCodec
from rlt_service import engine_calls
from rlt_service.engine.own_logprobs import is_cut_off, logprob_temperature, scored_anew
from rlt_service.engine.protocol import AdapterRef, Completion, Engine, GenerateRequest
from rlt_service.engine.request_checks import check_temperature
from rlt_service.engines import Engines
from rlt_service.in_hand import InHand, Load
from rlt_service.metrics import Metrics
from rlt_service.served import Versions, check_text
from rlt_service.settings import Settings
from rlt_service.store.ownership import owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Solver:
    """Lets a student solve questions."""

    settings: Settings
    versions: Versions
    engines: Engines
    in_hand: InHand
    metrics: Metrics

    async def solve(self, request: SolveRequest) -> SolveResponse:
        """Sample solutions by one version.

        Raises InvalidRequestError and its kinds, ModelNotFoundError, OverloadedError, EngineUnavailableError.
        """
        check_text(request.question, param="/question", max_characters=self.settings.max_text_characters)
        self.engines.some_ready()  # before anything is looked up: a starting server says so
        least = Load(requests=request.n, tokens=request.n * request.max_tokens)
        with self.in_hand.reserved(least):
            student = await asyncio.to_thread(self.versions.resolve, "student", request.student)
        async with self.engines.lease(student) as engine:
            with self.in_hand.reserved(least):
                prompt = await asyncio.to_thread(_encoded, request, engine)
            anew = "tokens" in request.include and is_cut_off(top_p=request.top_p, top_k=request.top_k)
            if anew:  # before anything is sampled whose log-probs this engine cannot give
                check_temperature(logprob_temperature(request.temperature), info=engine.info, param="/temperature")
            asked = _asked(request, engine, prompt=prompt, adapter=student.adapter)
            with self.in_hand.taken(Load(requests=request.n, tokens=request.n * (len(prompt) + request.max_tokens))):
                async with engine.holding(student.adapter):
                    made = await engine_calls.generate(engine, asked)
                    completions = made.completions
                    if anew:
                        completions = await scored_anew(completions, asked=asked, engine=engine)
            self.metrics.count_generated("solve", made.completions, prompt_tokens=len(prompt))
            solutions = await asyncio.to_thread(_read, completions, request=request, asked=asked, codec=engine.codec)
            return SolveResponse(
                id=new_id("sol"),
                created_at=now_utc(),
                student=student.ref,
                format=engine.codec.format_id,
                engine=EngineRef(name=engine.info.name, version=engine.info.version),
                solutions=solutions,
                usage=ExplainUsage(
                    prompt_tokens=len(prompt) * request.n,
                    completion_tokens=sum(solution.tokens for solution in solutions),
                    cached_tokens=made.cached_tokens,
                ),
            )


def _encoded(request: SolveRequest, engine: Engine) -> tuple[int, ...]:
    """Encode what the student reads; raises PromptTooLongError with both lengths."""
    prompt = engine.codec.student_prompt(question=request.question).token_ids
    room = engine.info.max_model_len
    if len(prompt) + request.max_tokens > room:
        raise PromptTooLongError(
            f"the question makes a prompt of {len(prompt)} tokens, with max_tokens = {request.max_tokens} that is "
            f"{len(prompt) + request.max_tokens}, this engine holds {room}: lower max_tokens or shorten the question",
            param="/max_tokens" if len(prompt) < room else "/question",
        )
    return prompt


def _asked(
    request: SolveRequest, engine: Engine, *, prompt: tuple[int, ...], adapter: AdapterRef | None
) -> GenerateRequest:
    return GenerateRequest(
        prompt_token_ids=prompt,
        adapter=adapter,
        n=request.n,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        max_tokens=request.max_tokens,
        seed=request.seed,
        stop_text=engine.codec.format.solution_close,
        cache_salt=owner(),
    )


def _read(
    completions: Sequence[Completion], *, request: SolveRequest, asked: GenerateRequest, codec: SequenceCodec
) -> list[Solution]:
    found = [_solution(completion, codec) for completion in completions]
    if "tokens" not in request.include:
        return found
    return [
        solution.model_copy(update={"generated": _generated(completion, asked)})
        for solution, completion in zip(found, completions, strict=True)
    ]


def _generated(completion: Completion, asked: GenerateRequest) -> SolutionTokens:
    return SolutionTokens(
        prompt_token_ids=list(asked.prompt_token_ids),
        completion_token_ids=list(completion.token_ids),
        completion_logprobs=list(completion.logprobs),
        temperature=logprob_temperature(asked.temperature),
    )


def _solution(completion: Completion, codec: SequenceCodec) -> Solution:
    ids = list(completion.token_ids)
    while ids and ids[-1] in codec.end_token_ids:
        ids.pop()
    read = read_solution(codec.decode(ids), format=codec.format, ended=completion.finish_reason == "stop")
    return Solution(
        index=completion.index,
        thought=read.thought,
        solution=read.solution,
        finish_reason=completion.finish_reason,
        tokens=len(completion.token_ids),
    )
