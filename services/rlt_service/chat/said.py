"""Own how a completion of a chat is read: text until a stop, a student's thought apart from what it says. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rlt_core.formats import Format
from rlt_core.schemas.chat import ChoiceLogprobs, TokenLogprob
from rlt_core.tokens import SequenceCodec
from rlt_service.engine.protocol import Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Text that is certain now."""

    thought: str = ""
    content: str = ""


@dataclass(slots=True, kw_only=True)
class ThoughtReader:
    """Parts text that comes in pieces at the tags between thought and solution."""

    format: Format
    _held: str = ""
    _place: str = field(default="thought")
    """Where the text stands now: `thought`, `between`, `content`."""

    def feed(self, text: str) -> Said:
        """Take more text; what may be the beginning of a tag is held back."""
        text, self._held, thought = self._held + text, "", ""
        if self._place == "thought":
            thought, closed, rest = text.partition(self.format.thought_close)
            if not closed:
                known = len(thought) - _beginning_of(self.format.thought_close, thought)
                self._held = thought[known:]
                return Said(thought=thought[:known])
            text, self._place = rest, "between"
        if self._place == "between":
            opening, text = self.format.solution_open, text.lstrip()
            if not text or (opening != text and opening.startswith(text)):
                self._held = text
                return Said(thought=thought)
            text, self._place = text.removeprefix(opening), "content"
        return Said(thought=thought, content=text)

    def finish(self) -> Said:
        """Take the end; give what was held back."""
        held, self._held = self._held, ""
        return Said(thought=held) if self._place == "thought" else Said(content=held)


class SaidReader:
    """Reads one completion while it is sampled."""

    def __init__(self, codec: SequenceCodec, *, stops: Sequence[str], thinks: bool) -> None:
        """`thinks`: it goes on in a thought of the codec's format."""
        self._text = codec.text_reader(stops=stops)
        self._thought = ThoughtReader(format=codec.format) if thinks else None

    def feed(self, token_ids: Sequence[int]) -> Said:
        """Take the next tokens."""
        text = self._text.feed(token_ids)
        return Said(content=text) if self._thought is None else self._thought.feed(text)

    def finish(self) -> Said:
        """Take the end."""
        text = self._text.finish()
        if self._thought is None:
            return Said(content=text)
        more, last = self._thought.feed(text), self._thought.finish()
        return Said(thought=more.thought + last.thought, content=more.content + last.content)


def logprobs_of(completion: Completion, *, codec: SequenceCodec, stops: Sequence[str]) -> ChoiceLogprobs:
    """List the tokens that begin before the first stop, without end tokens."""
    ids = list(completion.token_ids)
    while ids and ids[-1] in codec.end_token_ids:
        ids.pop()
    pieces, texts = codec.token_pieces(ids), codec.token_texts(ids)
    whole = b"".join(pieces)
    end = min((found for stop in stops if (found := whole.find(stop.encode())) >= 0), default=len(whole))
    listed: list[TokenLogprob] = []
    start = 0
    for piece, text, logprob in zip(pieces, texts, completion.logprobs, strict=False):
        if start >= end:
            break
        listed.append(TokenLogprob(token=text, logprob=logprob, bytes=list(piece)))
        start += len(piece)
    return ChoiceLogprobs(content=listed)


def _beginning_of(tag: str, text: str) -> int:
    """Count the characters at the end of `text` with which `tag` may begin."""
    longest = min(len(tag) - 1, len(text))
    return next((count for count in range(longest, 0, -1) if text[-count:] == tag[:count]), 0)
