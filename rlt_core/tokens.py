"""The Protocol between texts and token ids: segments in, ids and spans out. Its one implementation is `rlt_tokens`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from rlt_core.formats import ExplanationPiece, Format, SegmentKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Half-open range [start, end) of positions in a sequence."""

    start: int
    end: int

    def __len__(self) -> int:
        """Count the positions."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSequence:
    """Token ids of a whole sequence, with the span of each kind that occurs once (never of TEMPLATE and TAG)."""

    token_ids: tuple[int, ...]
    spans: Mapping[SegmentKind, Span] = field(default_factory=dict[SegmentKind, Span])

    @property
    def explanation(self) -> Span:
        """Where the explanation's tokens T stand (the rest of a straddling token is not among them)."""
        return self.spans[SegmentKind.EXPLANATION]

    @property
    def solution(self) -> Span:
        """Where the solution's tokens S stand, without its tags."""
        return self.spans[SegmentKind.SOLUTION]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCompletion:
    """What a teacher's completion says.

    `explanation` is T as a range of the completion's tokens; `rest` the text before the tag in a straddling token.
    """

    text: str
    explanation: Span
    rest: str
    straddled: bool
    well_formed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    text: str


class ExplanationReader(Protocol):
    """Reads one completion while it is sampled: the text that it gives, joined, is the ParsedCompletion's."""

    def feed(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that is now known to be the explanation's, in whole characters."""
        ...

    def finish(self) -> str:
        """Take the completion's end; give what was held back and is the explanation's."""
        ...


class SequenceCodec(Protocol):
    """Turns text into ids for one tokenizer and one format; engine, reward and trainer all call the same one."""

    @property
    def format(self) -> Format:
        """The tags and instructions in use."""
        ...

    @property
    def format_id(self) -> str:
        """The format's id; says so where the template has no system role (`stratos@1+folded`)."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names the tokenizer: equal where texts become the same ids, whatever template and format stand around."""
        ...

    @property
    def vocab_size(self) -> int:
        """Ids are below this."""
        ...

    @property
    def end_token_ids(self) -> frozenset[int]:
        """Ids that end a turn or a text; a completion may hold them, as its last token."""
        ...

    @property
    def control_token_ids(self) -> frozenset[int]:
        """Every added token's id (end tokens included): never made from user text, refused from callers."""
        ...

    def teacher_sequence(
        self, *, question: str, solution: str, explanation: ExplanationPiece | None = None
    ) -> EncodedSequence:
        """Encode the teacher's sequence; without an explanation, the prompt that the teacher continues."""
        ...

    def student_sequence(self, *, question: str, solution: str, explanation: ExplanationPiece) -> EncodedSequence:
        """Encode the student's sequence up to and with the solution's closing tag."""
        ...

    def student_prompt(self, *, question: str) -> EncodedSequence:
        """Encode what the student reads before it thinks; `student_sequence` begins with the same ids."""
        ...

    def chat_prompt(self, turns: Sequence[ChatTurn], *, go_on: bool = False) -> tuple[int, ...]:
        """Encode a chat by the model's own template, up to where the assistant goes on.

        `go_on`: it goes on with the last turn, which is the assistant's. Raises InvalidRequestError (`/messages`)
        for turns that the template does not take, or text that the tokenizer cannot hold.
        """
        ...

    def parse_completion(self, token_ids: Sequence[int]) -> ParsedCompletion:
        """Find the closing tag on the text of `token_ids`; never closed means all of it is the explanation."""
        ...

    def explanation_reader(self) -> ExplanationReader:
        """Begin to read a completion that comes in pieces."""
        ...

    def text_reader(self, *, stops: Sequence[str]) -> ExplanationReader:
        """Begin to read a completion that comes in pieces and ends where the first of `stops` begins."""
        ...

    def check_token_ids(self, token_ids: Sequence[int], *, param: str, allow_end: bool = False) -> None:
        """Raise InvalidTokenIdsError for ids outside the vocabulary or control ids (`allow_end`: a last end token)."""
        ...

    def token_texts(self, token_ids: Sequence[int]) -> list[str]:
        """Text of each token, such that the pieces joined are the decoded whole."""
        ...

    def token_pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        """Bytes of each token: of half a character, where one is split over tokens."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the tokens, control tokens written out."""
        ...

    def encode_text(self, text: str) -> list[int]:
        """Encode user text with no added tokens at all."""
        ...
