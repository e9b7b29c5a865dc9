"""Own one explain request that has its version, engine and prompt: what the engine is asked, how answers are read."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlt_core.errors import PromptTooLongError
from rlt_core.schemas.explain import ExplainRequest, ExplainUsage, Explanation
from rlt_service.engine.own_logprobs import is_cut_off, logprob_temperature, scored_anew
from rlt_service.engine.protocol import Completion, Engine, GenerateRequest
from rlt_service.engine.request_checks import check_temperature
from rlt_service.in_hand import Load
from rlt_service.served import ServedVersion
from rlt_service.store.ownership import owner
from rlt_service.teacher.completions import read_completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A request that can be carried out."""

    request: ExplainRequest
    teacher: ServedVersion
    engine: Engine
    prompt: tuple[int, ...]

    @property
    def asked(self) -> GenerateRequest:
        """What the engine is asked."""
        request = self.request
        return GenerateRequest(
            prompt_token_ids=self.prompt,
            adapter=self.teacher.adapter,
            n=request.n,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            max_tokens=request.max_tokens,
            seed=request.seed,
            stop_text=self.engine.codec.format.explanation_close,
            cache_salt=owner(),
        )

    @property
    def load(self) -> Load:
        """How much that is."""
        return Load(requests=self.request.n, tokens=self.request.n * (len(self.prompt) + self.request.max_tokens))

    @property
    def is_cut_off(self) -> bool:
        """Whether part of the distribution is not sampled from, so that sampled log-probs are renormalised."""
        return is_cut_off(top_p=self.request.top_p, top_k=self.request.top_k)

    @property
    def is_scored_anew(self) -> bool:
        """Whether log-probs are wanted, and the sampled ones are of another distribution than the model's."""
        return self.is_cut_off and bool(self.request.include)

    def check(self) -> None:
        """Raise InvalidRequestError where log-probs are wanted that this engine cannot give."""
        if self.is_scored_anew:
            check_temperature(self._logprob_temperature, info=self.engine.info, param="/temperature")

    async def with_own_logprobs(self, completions: Sequence[Completion]) -> list[Completion]:
        """Score completions anew where the sampled log-probs are renormalised and wanted (method: the reward)."""
        if not self.is_scored_anew:
            return list(completions)
        return await scored_anew(completions, asked=self.asked, engine=self.engine)

    def read(self, completions: Sequence[Completion]) -> list[Explanation]:
        """Find the explanations in what was generated, with all of that beside them."""
        return [
            read_completion(
                completion,
                prompt_token_ids=self.prompt,
                temperature=self._logprob_temperature,
                codec=self.engine.codec,
            )
            for completion in completions
        ]

    def shown(self, explanation: Explanation) -> Explanation:
        """Leave out what was not asked for."""
        return explanation if "tokens" in self.request.include else explanation.model_copy(update={"tokens": None})

    def usage_of(self, completions: Sequence[Completion], *, cached_tokens: int) -> ExplainUsage:
        """Count what the engine read and wrote: the prompt once for each completion."""
        return ExplainUsage(
            prompt_tokens=len(self.prompt) * len(completions),
            completion_tokens=sum(len(completion.token_ids) for completion in completions),
            cached_tokens=cached_tokens,
        )

    @property
    def _logprob_temperature(self) -> float:
        return logprob_temperature(self.request.temperature)


def encode_prompt(request: ExplainRequest, engine: Engine) -> tuple[int, ...]:
    """Encode what the teacher reads; raises PromptTooLongError with both lengths."""
    prompt = engine.codec.teacher_sequence(question=request.question, solution=request.solution).token_ids
    room = engine.info.max_model_len
    if len(prompt) + request.max_tokens > room:
        raise PromptTooLongError(
            f"question and solution make a prompt of {len(prompt)} tokens, with max_tokens = {request.max_tokens} that "
            f"is {len(prompt) + request.max_tokens}, this engine holds {room}: lower max_tokens or shorten the texts",
            param="/max_tokens" if len(prompt) < room else "/question",
        )
    return prompt
