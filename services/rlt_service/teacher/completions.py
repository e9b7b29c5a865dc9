"""Own the way from a completion's ids to an explanation of the answer. Pure."""

from collections.abc import Sequence

from rlt_core.schemas.explain import Explanation
from rlt_core.schemas.score import CompletionTokens
from rlt_core.tokens import SequenceCodec
from rlt_service.engine.protocol import Completion


def read_completion(
    completion: Completion, *, prompt_token_ids: Sequence[int], temperature: float, codec: SequenceCodec
) -> Explanation:
    """Find the explanation in what was generated, and keep all of that beside it."""
    parsed = codec.parse_completion(completion.token_ids)
    return Explanation(
        index=completion.index,
        text=parsed.text,
        finish_reason=completion.finish_reason,
        well_formed=parsed.well_formed,
        tokens=CompletionTokens(
            prompt_token_ids=list(prompt_token_ids),
            completion_token_ids=list(completion.token_ids),
            completion_logprobs=list(completion.logprobs),
            explanation=(parsed.explanation.start, parsed.explanation.end),
            temperature=temperature,
            straddled=parsed.straddled,
            tokenizer=codec.fingerprint,
        ),
    )
