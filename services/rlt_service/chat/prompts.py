"""Own what a version reads of a chat: the messages by the model's own template, a trained student's as in training."""

from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError, PromptTooLongError
from rlt_core.schemas.chat import ChatMessage, ChatRequest
from rlt_core.tokens import ChatTurn
from rlt_service.engine.own_logprobs import is_cut_off
from rlt_service.engine.protocol import Engine, GenerateRequest
from rlt_service.in_hand import Load
from rlt_service.served import ServedVersion, check_length
from rlt_service.store.ownership import owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A request that has its version and engine: what the engine is asked, and how its answer is to be read."""

    request: ChatRequest
    version: ServedVersion
    engine: Engine
    prompt: tuple[int, ...]
    thinks: bool
    """Whether the answer goes on in a student's thought."""

    @property
    def max_tokens(self) -> int:
        """Give the longest answer: what was asked for, or all the room that is left."""
        return self.request.limit or self.engine.info.max_model_len - len(self.prompt)

    @property
    def load(self) -> Load:
        """How much that is."""
        return Load(requests=self.request.n, tokens=self.request.n * (len(self.prompt) + self.max_tokens))

    @property
    def is_scored_anew(self) -> bool:
        """Whether log-probs are wanted, and the sampled ones are renormalised over a part of the distribution."""
        return bool(self.request.logprobs) and is_cut_off(top_p=self.request.top_p, top_k=self.request.top_k)

    @property
    def stops(self) -> tuple[str, ...]:
        """Give the texts at which the answer ends: the caller's, and of a trained student the solution's tag."""
        closing = self.engine.codec.format.solution_close
        return (*self.request.stops, closing) if self.thinks and closing else self.request.stops

    @property
    def asked(self) -> GenerateRequest:
        """What the engine is asked."""
        request = self.request
        return GenerateRequest(
            prompt_token_ids=self.prompt,
            adapter=self.version.adapter,
            n=request.n,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            max_tokens=self.max_tokens,
            seed=request.seed,
            stop_text=self.engine.codec.format.solution_close if self.thinks else "",
            further_stops=request.stops,
            cache_salt=owner(),
        )


def check_messages(request: ChatRequest, *, max_characters: int) -> None:
    """Raise InvalidRequestError for a message that is blank or too long, or all together too long."""
    last = len(request.messages) - 1
    for place, message in enumerate(request.messages):
        # A first assistant's word may be a space: it is gone on with.
        begun = request.continue_final_message and place == last
        if not begun and not message.text.strip():
            raise InvalidRequestError(
                f"message {place} is empty: it needs at least one visible character",
                param=f"/messages/{place}/content",
            )
        check_length(message.text, param=f"/messages/{place}/content", max_characters=max_characters)
    total = sum(len(message.text) for message in request.messages)
    if total > max_characters:
        raise InvalidRequestError(
            f"the messages have {total} characters together, this server takes {max_characters}: send fewer",
            param="/messages",
        )


def thinks_as_trained(request: ChatRequest, version: ServedVersion) -> bool:
    """Tell whether a student is asked as in training: one that was trained, and whom nobody instructs otherwise."""
    instructed = any(message.role in ("system", "developer") for message in request.messages)
    return version.made_for == "student" and not instructed and not request.continue_final_message


def encode_chat(request: ChatRequest, engine: Engine, *, thinks: bool) -> tuple[int, ...]:
    """Encode what the version reads; raises PromptTooLongError with both lengths, and what `chat_prompt` raises."""
    turns = [_turn(message) for message in request.messages]
    if thinks:
        form = engine.codec.format
        instruction = ChatTurn(role="system", text=form.student_instruction)
        turns = [instruction, *turns, ChatTurn(role="assistant", text=form.thought_open)]
    prompt = engine.codec.chat_prompt(turns, go_on=thinks or request.continue_final_message)
    room, wanted = engine.info.max_model_len, request.limit or 1
    if len(prompt) + wanted > room:
        name = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
        raise PromptTooLongError(
            f"the messages make a prompt of {len(prompt)} tokens, with {name} = {wanted} that is "
            f"{len(prompt) + wanted}, this engine holds {room}: lower {name} or shorten the messages",
            param=f"/{name}" if len(prompt) < room else "/messages",
        )
    return prompt


def _turn(message: ChatMessage) -> ChatTurn:
    return ChatTurn(role="system" if message.role == "developer" else message.role, text=message.text)
