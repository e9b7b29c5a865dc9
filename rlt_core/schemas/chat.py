"""Wire types of POST /v1/chat/completions, as OpenAI's clients write and read them."""

from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, model_validator

from rlt_core.errors import InvalidRequestError, NotAvailableYetError
from rlt_core.schemas.base import MIN_TEMPERATURE, RequestModel, WireModel
from rlt_core.schemas.explain import FinishReason, samples_or_is_greedy

MAX_MESSAGES = 256
UNSUPPORTED: dict[str, str] = {
    "audio": "answers are text",
    "chat_template": "templates of callers are not run: the model's own is",
    "chat_template_kwargs": "templates take nothing from callers",
    "frequency_penalty": "tokens are sampled from the model's own distribution",
    "function_call": "models here call no functions",
    "functions": "models here call no functions",
    "guided_choice": "no grammar of callers is compiled",
    "guided_grammar": "no grammar of callers is compiled",
    "guided_json": "no grammar of callers is compiled",
    "guided_regex": "no regular expression of callers is compiled",
    "logit_bias": "tokens are sampled from the model's own distribution",
    "modalities": "answers are text",
    "parallel_tool_calls": "models here call no tools",
    "prediction": "nothing is predicted for the model",
    "presence_penalty": "tokens are sampled from the model's own distribution",
    "reasoning_effort": "a student thinks as it was trained to",
    "response_format": "no grammar of callers is compiled: ask for the form in words",
    "store": "answers are not kept",
    "structured_outputs": "no grammar of callers is compiled",
    "tool_choice": "models here call no tools",
    "tools": "models here call no tools",
    "top_logprobs": "the log-probs of the sampled tokens alone are known",
    "verbosity": "a model writes as it was trained to",
    "web_search_options": "nothing is searched",
}
"""Parameters of OpenAI's or vLLM's that are not carried out, and why; a value that asks for nothing is let pass."""
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
}
"""Values, beside null, that ask for nothing."""


class TextPart(RequestModel):
    """One part of a message; parts are joined. There are no images here, nor other media."""

    type: Literal["text"]
    text: str


class ChatMessage(RequestModel):
    """One message of a chat; `developer` is another name of `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1, max_length=64)]

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """Take an assistant's message as a client got it: what it holds beside the text is null or said already."""
        if not isinstance(value, dict):
            return value
        message = cast("dict[str, Any]", value)
        dropped = {"refusal", "audio", "function_call", "tool_calls", "annotations", "name"}
        kept = {name: field for name, field in message.items() if name not in dropped or field not in (None, [])}
        if message.get("role") == "assistant":
            kept.pop("reasoning_content", None)
        return kept

    @property
    def text(self) -> str:
        """All of its text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(RequestModel):
    """What a stream tells beside its text."""

    include_usage: bool = False


class ChatRequest(RequestModel):
    """Messages; the model writes the next one."""

    model: str = Field(min_length=1, max_length=200)
    """A student's alias, a name (its newest version), `name@number`, or a teacher's alias."""
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    n: int = Field(default=1, ge=1, le=64)
    temperature: Annotated[float, AfterValidator(samples_or_is_greedy)] = Field(
        default=1.0, ge=0.0, le=2.0, json_schema_extra={"anyOf": [{"const": 0.0}, {"minimum": MIN_TEMPERATURE}]}
    )
    """0 is greedy; its log-probs are those at 1."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    top_k: int = Field(default=0, ge=0, le=1_000_000)
    """Not OpenAI's: sample from this many likeliest tokens; 0 from all."""
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    """The older name of `max_completion_tokens`."""
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    """Longest answer, a student's thought included; null is all the room that the prompt leaves."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    stop: str | Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=8)] | None = None
    """Texts that end the answer, and are no part of it."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    """With `stream` alone."""
    logprobs: bool | None = None
    """Whether to tell the log-prob of each sampled token, at the sampling temperature; not with `stream`."""
    continue_final_message: bool = False
    """Not OpenAI's: the last message, an assistant's, is gone on with instead of answered."""
    user: str | None = Field(default=None, max_length=1000)
    """Taken, and used for nothing."""
    metadata: dict[str, str] | None = Field(default=None, max_length=64)
    """Taken, and used for nothing."""
    service_tier: Literal["auto", "default"] | None = None
    """There is one tier."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        body = cast("dict[str, Any]", value)
        for name in sorted(UNSUPPORTED.keys() & body.keys()):
            if body[name] is not None and not any(_is(body[name], neutral) for neutral in _NEUTRAL.get(name, ())):
                raise NotAvailableYetError(
                    f"{name} is not available here: {UNSUPPORTED[name]}; leave it out", param=f"/{name}"
                )
        return {name: field for name, field in body.items() if name not in UNSUPPORTED}

    @model_validator(mode="after")
    def _check_together(self) -> "ChatRequest":
        both = (self.max_tokens, self.max_completion_tokens)
        if None not in both and self.max_tokens != self.max_completion_tokens:
            raise InvalidRequestError(
                f"max_tokens = {both[0]} and max_completion_tokens = {both[1]} mean the same: send one",
                param="/max_tokens",
            )
        if self.stop == "":
            raise InvalidRequestError("stop is empty: it needs at least one character", param="/stop")
        if self.stream_options is not None and not self.stream:
            raise InvalidRequestError(
                "stream_options are of streams: leave them out, or ask for stream", param="/stream_options"
            )
        if self.logprobs and self.stream:
            raise NotAvailableYetError(
                "logprobs come with whole answers alone: leave out logprobs or stream", param="/logprobs"
            )
        last = len(self.messages) - 1
        if self.continue_final_message and (last == 0 or self.messages[last].role != "assistant"):
            raise InvalidRequestError(
                "continue_final_message goes on with a message of the assistant that follows others, and the last of "
                f"{last + 1} is {self.messages[last].role}'s",
                param="/continue_final_message",
            )
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """Give the texts that end the answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def limit(self) -> int | None:
        """Give the longest answer in tokens, where one is given."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


def _is(value: object, neutral: object) -> bool:
    """Compare JSON values; 0 is 0.0, and no boolean."""
    return isinstance(value, bool) == isinstance(neutral, bool) and value == neutral


class AssistantMessage(WireModel):
    """What the model wrote, without tags."""

    role: Literal["assistant"] = "assistant"
    content: str
    reasoning_content: str | None = None
    """A trained student's thought, where it was asked as in training; else null."""
    refusal: None = None


class TokenLogprob(WireModel):
    """One sampled token."""

    token: str
    logprob: float
    """Natural log, at the sampling temperature (at 1 for greedy), of the whole softmax."""
    bytes: list[int]
    top_logprobs: list[Any] = Field(default_factory=list[Any], max_length=0)


class ChoiceLogprobs(WireModel):
    """Of all that was sampled up to the stop, a thought and its tag included."""

    content: list[TokenLogprob]
    refusal: None = None


class ChatChoice(WireModel):
    """One answer."""

    index: int
    message: AssistantMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason


class PromptTokensDetails(WireModel):
    """Of the prompt's tokens."""

    cached_tokens: int


class ChatUsage(WireModel):
    """Tokens: the prompt once, all answers together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class ChatCompletion(WireModel):
    """Answers by one version."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    """Seconds since 1970."""
    model: str
    """The exact version that answered."""
    choices: list[ChatChoice]
    usage: ChatUsage
    system_fingerprint: str
    """Engine and its version."""


class ChatDelta(WireModel):
    """What has come since the last chunk; fields that nothing came for are left out."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None


class ChunkChoice(WireModel):
    """More of one answer."""

    index: int
    delta: ChatDelta
    finish_reason: FinishReason | None = None


class ChatChunk(WireModel):
    """One event of a stream, which ends with `[DONE]`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: ChatUsage | None = None
    """In the last chunk, where `stream_options` ask for it."""
    system_fingerprint: str
