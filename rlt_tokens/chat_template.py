"""Own what a model's chat template puts around the texts that it is given: those themselves never go through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tokenizers import Tokenizer

from rlt_core.errors import ConfigurationError, InvalidRequestError
from rlt_core.formats import Segment, SegmentKind
from rlt_core.tokens import ChatTurn

FOLD_SEPARATOR = "\n\n"
"""Between instruction and question where both stand in the user's turn."""

FIXED_DATE = datetime(2024, 7, 26, tzinfo=UTC)
"""What a template that writes today's date is told: engine and trainer must read the same text on any day."""

Sentinels = dict[SegmentKind, str]

# Case, quotes, angle brackets, double spaces and line ends: whatever a template may alter, it alters here.
# Two sets of different length: text around them that differs depends on the messages.
SENTINELS: tuple[Sentinels, Sentinels] = (
    {
        SegmentKind.INSTRUCTION: "Uj7 \"Instruction\"  <x>&\n'Zq' {1}",
        SegmentKind.QUESTION: "Vk8 \"Question\"  <y>&\n'Wp' {2}",
    },
    {
        SegmentKind.INSTRUCTION: "Another \"Instruction\"  <of>&\n'Other' length {3}, 9Q",
        SegmentKind.QUESTION: "One more \"Question\"  <that>&\n'Differs' from {4} all, 9R",
    },
)


MAX_KEPT = 256
"""Sequences of roles whose template text is remembered."""


class _RenderError(Exception):
    """The template raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateLayout:
    """The rendered turns as segments: TEMPLATE ones with text, INSTRUCTION and QUESTION as empty places, in order."""

    segments: tuple[Segment, ...]
    folded: bool
    """No system role: the instruction stands in the user's turn."""


class ChatTemplate:
    """What a template writes around the turns of a chat, in ids; it depends on their roles alone."""

    def __init__(self, chat_template: str, *, special_tokens: Mapping[str, Any], tokenizer: Tokenizer) -> None:
        """Keep the parts; `tokenizer` knows the control tokens that the template writes."""
        self._chat_template = chat_template
        self._special_tokens = special_tokens
        self._tokenizer = tokenizer
        self._kept: dict[tuple[str, ...], tuple[tuple[int, ...], ...]] = {}

    def around(self, roles: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Give what stands before the first turn and after each; raises InvalidRequestError (`/messages`)."""
        key = tuple(roles)
        if key not in self._kept:
            texts = read_turns(self._chat_template, roles=roles, special_tokens=self._special_tokens)
            made = tuple(tuple(self._tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[key] = made
        return self._kept[key]


def folded_turns(turns: Sequence[ChatTurn]) -> list[tuple[str, tuple[str, ...]]]:
    """Give roles and texts with a first system turn put before the user's that follows it, as `read_layout` does."""
    given = [(turn.role, (turn.text,)) for turn in turns]
    if [turn.role for turn in turns[:2]] != ["system", "user"]:
        return [*given]
    return [("user", (turns[0].text, FOLD_SEPARATOR, turns[1].text)), *given[2:]]


def read_turns(chat_template: str, *, roles: Sequence[str], special_tokens: Mapping[str, Any]) -> list[str]:
    """Render turns of these roles with sentinels and cut the text at them: one text before the first, one after each.

    Raises InvalidRequestError (`/messages`) where the template raises, or leaves a turn out or alters it.
    """
    sentinels = [f"Uj7 \"Turn {place}\"  <x>&\n'Zq' {{{place}}}" for place in range(len(roles))]
    turns = [{"role": role, "content": sentinel} for role, sentinel in zip(roles, sentinels, strict=True)]
    try:
        rest = _render(chat_template, turns, special_tokens=special_tokens)
    except _RenderError as error:
        raise InvalidRequestError(
            f"the model's chat template does not take messages of the roles {', '.join(roles[:8])} in this order "
            f"({str(error)[:200]}): send them as it does, mostly user and assistant by turns",
            param="/messages",
        ) from error
    texts: list[str] = []
    for place, sentinel in enumerate(sentinels):
        before, found, rest = rest.partition(sentinel)
        if not found or sentinel in rest:
            raise InvalidRequestError(
                f"the model's chat template does not write message {place} ({roles[place]}) once, as it is and in its "
                "place: leave it out, or put it elsewhere",
                param=f"/messages/{place}",
            )
        texts.append(before)
    return [*texts, rest]


def read_layout(chat_template: str, *, special_tokens: Mapping[str, Any]) -> TemplateLayout:
    """Render [system, user] with sentinels and cut the text at them.

    Raises ConfigurationError for a template that raises, that loses, repeats or alters a message's text, or whose
    own text depends on the messages.
    """
    layouts = [_read(chat_template, special_tokens=special_tokens, sentinels=sentinels) for sentinels in SENTINELS]
    if layouts[0] != layouts[1]:
        raise ConfigurationError(
            "the chat template writes different text around different messages: give the model a template whose own "
            "text is fixed"
        )
    return layouts[0]


def _read(chat_template: str, *, special_tokens: Mapping[str, Any], sentinels: Sentinels) -> TemplateLayout:
    instruction, question = sentinels[SegmentKind.INSTRUCTION], sentinels[SegmentKind.QUESTION]
    user = {"role": "user", "content": question}
    turns = [{"role": "system", "content": instruction}, user]
    folded = [{"role": "user", "content": f"{instruction}{FOLD_SEPARATOR}{question}"}]
    try:
        rendered = _render(chat_template, turns, special_tokens=special_tokens)
        # A system turn that changes nothing at all is a role that the template does not have.
        without_role = instruction not in rendered and rendered == _render(
            chat_template, [user], special_tokens=special_tokens
        )
    except _RenderError:
        without_role, rendered = True, ""
    if without_role:
        try:
            rendered = _render(chat_template, folded, special_tokens=special_tokens)
        except _RenderError as error:
            raise ConfigurationError(
                f"the chat template renders neither [system, user] nor [user]: {error}: correct the model's template"
            ) from error
    return TemplateLayout(segments=_cut(rendered, sentinels=sentinels), folded=without_role)


def _cut(rendered: str, *, sentinels: Sentinels) -> tuple[Segment, ...]:
    for kind, sentinel in sentinels.items():
        if (count := rendered.count(sentinel)) != 1:
            raise ConfigurationError(
                f"the chat template must write the {kind}'s text once, unaltered, but it stands there {count} times "
                f"in {rendered[:500]!r}: give the model a template that puts each message's content in as it is"
            )
    segments: list[Segment] = []
    rest = rendered
    for kind in sorted(sentinels, key=lambda kind: rendered.index(sentinels[kind])):
        before, _, rest = rest.partition(sentinels[kind])
        segments += [Segment(kind=SegmentKind.TEMPLATE, text=before), Segment(kind=kind)]
    segments.append(Segment(kind=SegmentKind.TEMPLATE, text=rest))
    return tuple(segment for segment in segments if segment.text or segment.kind is not SegmentKind.TEMPLATE)


def _render(chat_template: str, messages: Sequence[dict[str, str]], *, special_tokens: Mapping[str, Any]) -> str:
    # Here, because importing this package must stay cheap; this module of transformers does without torch.
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    variables = {**special_tokens, "strftime_now": FIXED_DATE.strftime}
    try:
        rendered, _ = render_jinja_template(
            [list(messages)], chat_template=chat_template, add_generation_prompt=True, **variables
        )
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise _RenderError(f"{type(error).__name__}: {error}") from error
    return rendered[0]
