"""Own what a model's chat template puts around the two texts that it is given. Nothing else goes through a template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rlt_core.errors import ConfigurationError
from rlt_core.formats import Segment, SegmentKind

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


class _RenderError(Exception):
    """The template raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateLayout:
    """The rendered turns as segments: TEMPLATE ones with text, INSTRUCTION and QUESTION as empty places, in order."""

    segments: tuple[Segment, ...]
    folded: bool
    """No system role: the instruction stands in the user's turn."""


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
