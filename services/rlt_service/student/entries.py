"""Own what an explanation to score is: a text, or ids as generated. Ids are the truth; other claims are refused."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError
from rlt_core.formats import ExplanationPiece
from rlt_core.rewards import HIGHEST_LOGPROB
from rlt_core.schemas.score import CompletionTokens, ExplanationInput
from rlt_core.tokens import ParsedCompletion, SequenceCodec
from rlt_service.served import check_length

LOWEST_LOGPROB = -1e6
"""Below any softmax of a model, at any temperature; keeps every sum finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The teacher's log-probs [T] that came with the ids, and the temperature of all of them."""

    logprobs_T: tuple[float, ...]
    temperature: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One explanation as it will be scored."""

    piece: ExplanationPiece
    well_formed: bool
    given: Given | None
    codec: SequenceCodec | None
    """What the piece's ids are of; None where it is a text alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizers:
    """Finds what an entry's ids are of."""

    student: SequenceCodec
    teacher: SequenceCodec | None
    """None where no teacher is named."""
    others: Callable[[str], SequenceCodec | None]
    """Those of this process, by fingerprint."""

    def of(self, fingerprint: str | None, *, param: str) -> SequenceCodec:
        """Give the codec that reads the ids; raises InvalidRequestError where there is none, or no use for them."""
        usual = self.teacher or self.student
        if fingerprint is None or fingerprint == usual.fingerprint:
            return usual
        if self.teacher is not None:
            raise InvalidRequestError(
                f"the tokens are of the tokenizer {fingerprint!r}, the named teacher's is {usual.fingerprint!r}: send "
                "the text alone",
                param=param,
            )
        if (found := self.others(fingerprint)) is None:
            raise InvalidRequestError(
                f"no engine of this process has the tokenizer {fingerprint!r}, which the tokens are of: send the text "
                "alone, and name the teacher where its KL is wanted",
                param=param,
            )
        return found


def read_entries(
    explanations: Sequence[str | ExplanationInput], *, tokenizers: Tokenizers, max_characters: int
) -> list[Entry]:
    """Read all; raises InvalidRequestError or InvalidTokenIdsError with `param` at the entry's field."""
    return [
        _read(entry, tokenizers=tokenizers, param=f"/explanations/{index}", max_characters=max_characters)
        for index, entry in enumerate(explanations)
    ]


def _read(entry: str | ExplanationInput, *, tokenizers: Tokenizers, param: str, max_characters: int) -> Entry:
    text = entry if isinstance(entry, str) else entry.text
    check_length(text, param=param, max_characters=max_characters)
    if isinstance(entry, str) or entry.tokens is None:
        well_formed = True if isinstance(entry, str) else entry.well_formed
        return Entry(piece=ExplanationPiece(text=text), well_formed=well_formed, given=None, codec=None)
    tokens = entry.tokens
    codec = tokenizers.of(tokens.tokenizer, param=f"{param}/tokens/tokenizer")
    _check_tokens(tokens, codec=codec, param=f"{param}/tokens")
    parsed = codec.parse_completion(tokens.completion_token_ids)
    _check_claims(entry, tokens, parsed, param=param)
    start, end = parsed.explanation.start, parsed.explanation.end
    return Entry(
        piece=ExplanationPiece(
            text=parsed.text, token_ids=tuple(tokens.completion_token_ids[start:end]), rest=parsed.rest
        ),
        well_formed=parsed.well_formed,
        given=Given(logprobs_T=tuple(tokens.completion_logprobs[start:end]), temperature=tokens.temperature),
        codec=codec,
    )


def _check_tokens(tokens: CompletionTokens, *, codec: SequenceCodec, param: str) -> None:
    codec.check_token_ids(tokens.completion_token_ids, param=f"{param}/completion_token_ids", allow_end=True)
    ids, logprobs = len(tokens.completion_token_ids), len(tokens.completion_logprobs)
    if ids != logprobs:
        raise InvalidRequestError(
            f"{ids} completion_token_ids with {logprobs} completion_logprobs: send exactly one for each",
            param=f"{param}/completion_logprobs",
        )
    for position, value in enumerate(tokens.completion_logprobs):
        if not (math.isfinite(value) and LOWEST_LOGPROB <= value <= HIGHEST_LOGPROB):
            raise InvalidRequestError(
                f"{value!r} is no log-prob: natural logs lie between {LOWEST_LOGPROB:g} and 0",
                param=f"{param}/completion_logprobs/{position}",
            )


def _check_claims(entry: ExplanationInput, tokens: CompletionTokens, parsed: ParsedCompletion, *, param: str) -> None:
    """Compare what the caller says of the ids with what they are; what is left out claims nothing."""
    if entry.text and entry.text != parsed.text:
        raise InvalidRequestError(
            "the text is not what the token ids say: send the ids with their own text, or without one",
            param=f"{param}/text",
        )
    span = (parsed.explanation.start, parsed.explanation.end)
    claims: list[tuple[str, object, object]] = [("tokens/explanation", tokens.explanation, span)]
    if "straddled" in tokens.model_fields_set:
        claims.append(("tokens/straddled", tokens.straddled, parsed.straddled))
    if "well_formed" in entry.model_fields_set:
        claims.append(("well_formed", entry.well_formed, parsed.well_formed))
    for field, claimed, found in claims:
        if claimed != found:
            raise InvalidRequestError(
                f"{field} is {claimed!r}, by the token ids it is {found!r}: send the tokens as /explain gave them",
                param=f"{param}/{field}",
            )
