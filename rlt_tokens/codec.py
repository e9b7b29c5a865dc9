"""Own the codec: segments to ids and spans, ids to text. The one module that engine, reward and trainer all call."""

from collections.abc import Sequence
from dataclasses import replace
from unicodedata import normalize

from tokenizers import Tokenizer

from rlt_core.errors import InvalidRequestError, InvalidTokenIdsError
from rlt_core.formats import ChatSequence, ExplanationPiece, Format, Segment, SegmentKind
from rlt_core.tokens import ChatTurn, EncodedSequence, ParsedCompletion, Span
from rlt_tokens.chat_template import ChatTemplate, folded_turns
from rlt_tokens.completions import parse_pieces
from rlt_tokens.piece_reader import PieceReader
from rlt_tokens.token_bytes import TokenBytes

FOLDED_SUFFIX = "+folded"
_WITHOUT_SPAN = (SegmentKind.TEMPLATE, SegmentKind.TAG)


class TokenizerCodec:
    """rlt_core.tokens.SequenceCodec for one tokenizer and one format; made by `load_codec` and its like."""

    def __init__(
        self,
        *,
        format: Format,
        folded: bool,
        layout: Sequence[Segment],
        chat: ChatTemplate,
        plain: Tokenizer,
        token_bytes: TokenBytes,
        control_token_ids: frozenset[int],
        end_token_ids: frozenset[int],
        fingerprint: str,
    ) -> None:
        """Keep the parts; `layout` is the chat template's segments, those of the template with their ids."""
        self._format = format
        self._folded = folded
        self._layout = tuple(layout)
        self._chat = chat
        self._plain = plain
        self._token_bytes = token_bytes
        self._control_token_ids = control_token_ids
        self._end_token_ids = end_token_ids
        self._fingerprint = fingerprint

    @property
    def format(self) -> Format:
        """The tags and instructions in use."""
        return self._format

    @property
    def format_id(self) -> str:
        """The format's id; ends in `+folded` where the template has no system role."""
        return self._format.id + FOLDED_SUFFIX if self._folded else self._format.id

    @property
    def fingerprint(self) -> str:
        """Names the tokenizer: equal where texts become the same ids, whatever template and format stand around."""
        return self._fingerprint

    @property
    def vocab_size(self) -> int:
        """Ids are below this: the tokenizer's, which may be fewer than the rows of the model's embedding."""
        return len(self._token_bytes.by_id)

    @property
    def end_token_ids(self) -> frozenset[int]:
        """Ids that end a turn or a text."""
        return self._end_token_ids

    @property
    def control_token_ids(self) -> frozenset[int]:
        """Ids of added tokens, end tokens, and holes of the vocabulary: nothing that text can stand for."""
        return self._control_token_ids

    def teacher_sequence(
        self, *, question: str, solution: str, explanation: ExplanationPiece | None = None
    ) -> EncodedSequence:
        """Encode the teacher's sequence; without an explanation, the prompt that the teacher continues."""
        return self._encode(self._format.teacher(question=question, solution=solution, explanation=explanation))

    def student_sequence(self, *, question: str, solution: str, explanation: ExplanationPiece) -> EncodedSequence:
        """Encode the student's sequence up to and with the solution's closing tag."""
        return self._encode(self._format.student(question=question, solution=solution, explanation=explanation))

    def student_prompt(self, *, question: str) -> EncodedSequence:
        """Encode what the student reads before it thinks; `student_sequence` begins with the same ids."""
        return self._encode(self._format.student_prompt(question=question))

    def chat_prompt(self, turns: Sequence[ChatTurn], *, go_on: bool = False) -> tuple[int, ...]:
        """Encode a chat by the model's own template, up to where the assistant goes on.

        What turns say is encoded as any text of users: it makes no control token, whatever it says. Raises as the
        Protocol says.
        """
        asked, begun = (turns[:-1], turns[-1].text) if go_on else (turns, "")
        folded = folded_turns(asked) if self._folded else [(turn.role, (turn.text,)) for turn in asked]
        head, *rest = self._chat.around([role for role, _ in folded])
        token_ids = list(head)
        for (_, texts), after in zip(folded, rest, strict=True):
            for text in texts:
                token_ids += self._text_ids(text, param="/messages")
            token_ids += after
        return (*token_ids, *self._text_ids(begun, param="/messages"))

    def parse_completion(self, token_ids: Sequence[int]) -> ParsedCompletion:
        """Find the closing tag on the text of `token_ids`; never closed means all of it is the explanation.

        End tokens at the end belong to neither. Raises InvalidTokenIdsError for ids that are none.
        """
        count = len(token_ids)
        while count and token_ids[count - 1] in self._end_token_ids:
            count -= 1
        pieces = self._token_bytes.pieces(token_ids[:count])
        return parse_pieces(pieces, closing_tag=self._format.explanation_close)

    def explanation_reader(self) -> PieceReader:
        """Begin to read a completion that comes in pieces; `feed` raises InvalidTokenIdsError for ids that are none."""
        return PieceReader(
            token_bytes=self._token_bytes,
            end_token_ids=self._end_token_ids,
            closing_tags=[self._format.explanation_close],
        )

    def text_reader(self, *, stops: Sequence[str]) -> PieceReader:
        """Begin to read a completion that comes in pieces and ends where the first of `stops` begins."""
        return PieceReader(token_bytes=self._token_bytes, end_token_ids=self._end_token_ids, closing_tags=stops)

    def check_token_ids(self, token_ids: Sequence[int], *, param: str, allow_end: bool = False) -> None:
        """Raise InvalidTokenIdsError for ids outside the vocabulary or control ids (`allow_end`: a last end token)."""
        last = len(token_ids) - 1
        for position, token_id in enumerate(token_ids):
            if isinstance(token_id, bool) or not isinstance(token_id, int) or not 0 <= token_id < self.vocab_size:
                raise InvalidTokenIdsError(
                    f"{token_id!r} at position {position} is no token id: ids of this model are integers from 0 to "
                    f"{self.vocab_size - 1}",
                    param=param,
                )
            is_end = allow_end and position == last and token_id in self._end_token_ids
            if token_id in self._control_token_ids and not is_end:
                raise InvalidTokenIdsError(
                    f"token id {token_id} at position {position} is a control token: send only ids of ordinary text",
                    param=param,
                )

    def token_texts(self, token_ids: Sequence[int]) -> list[str]:
        """Text of each token, such that the pieces joined are the decoded whole."""
        return self._token_bytes.texts(token_ids)

    def token_pieces(self, token_ids: Sequence[int]) -> list[bytes]:
        """Bytes of each token: of half a character, where one is split over tokens."""
        return self._token_bytes.pieces(token_ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the tokens, control tokens written out."""
        return self._token_bytes.decode(token_ids)

    def encode_text(self, text: str) -> list[int]:
        """Encode user text with no added tokens at all.

        Raises InvalidRequestError for text that this tokenizer cannot hold whole: lone surrogates, characters whose
        bytes are missing from its vocabulary.
        """
        return self._text_ids(text, param=None)

    def segments(self, sequence: ChatSequence) -> tuple[Segment, ...]:
        """List all segments of a sequence in their order, those of the chat template included."""
        texts = {SegmentKind.INSTRUCTION: sequence.instruction, SegmentKind.QUESTION: sequence.question}
        turns = [replace(part, text=texts[part.kind]) if part.kind in texts else part for part in self._layout]
        return (*turns, *sequence.assistant)

    def segment_ids(self, segment: Segment) -> Sequence[int]:
        """Encode one segment, or check and hand back the ids that it already has."""
        if segment.token_ids is None:
            return self._text_ids(segment.text, param=f"/{segment.kind}")
        if segment.kind is not SegmentKind.TEMPLATE:
            self.check_token_ids(segment.token_ids, param=f"/{segment.kind}")
        return segment.token_ids

    def _encode(self, sequence: ChatSequence) -> EncodedSequence:
        token_ids: list[int] = []
        spans: dict[SegmentKind, Span] = {}
        for segment in self.segments(sequence):
            start = len(token_ids)
            token_ids += self.segment_ids(segment)
            if segment.kind not in _WITHOUT_SPAN:
                spans[segment.kind] = Span(start=start, end=len(token_ids))
        return EncodedSequence(token_ids=tuple(token_ids), spans=spans)

    def _text_ids(self, text: str, *, param: str | None) -> list[int]:
        _refuse_surrogates(text, param=param)
        token_ids = self._plain.encode(text, add_special_tokens=False).ids
        kept = self._token_bytes.decode(token_ids)
        # Tokenizers may compose accents (NFC), which changes no text; anything else is text lost or put in.
        if kept != text and normalize("NFC", kept) != normalize("NFC", text):
            position = _first_difference(kept, text)
            raise InvalidRequestError(
                f"this model's tokenizer cannot hold the text unchanged from character {position} on "
                f"({text[position : position + 8]!r}): leave such characters out",
                param=param,
            )
        return token_ids


def _refuse_surrogates(text: str, *, param: str | None) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"the text holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}: "
            "send valid Unicode",
            param=param,
        ) from error


def _first_difference(kept: str, text: str) -> int:
    shared = min(len(kept), len(text))
    return next((position for position in range(shared) if kept[position] != text[position]), shared)
