"""Own which log-probs of a chat are told: of the tokens that begin before the first stop, each once that is certain.

A whole answer is read as a stream is, in one piece, so both tell the same. No I/O.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from rlt_core.schemas.chat import TokenLogprob, TopLogprob
from rlt_core.tokens import SequenceCodec
from rlt_service.chat.said import beginning_of
from rlt_service.engine.protocol import Alternatives, Completion, CompletionDelta


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sampled:
    """A token as the engine told it."""

    id: int
    logprob: float
    likeliest: Alternatives


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A token that is read, and not yet told."""

    start: int
    """Where it begins, in bytes of the whole."""
    told: TokenLogprob
    whole: bool
    """Whether no character is begun and not ended with it: the next token may change its text else."""


class LogprobReader:
    """Reads the log-probs of one completion while it is sampled."""

    def __init__(self, codec: SequenceCodec, *, stops: Sequence[str]) -> None:
        """Begin with nothing read; the text ends where the first of `stops` begins."""
        self._codec = codec
        self._stops = [stop.encode() for stop in stops]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ends: list[_Sampled] = []
        """End tokens with nothing after them yet: at the completion's end they belong to no text."""
        self._held: list[_Held] = []
        self._read, self._open = 0, b""
        """Bytes read, and those of them at the end that may be the beginning of a stop."""
        self._closed = False

    def feed(self, piece: CompletionDelta | Completion) -> list[TokenLogprob]:
        """Take the next tokens; give those that certainly begin before the first stop, and whose text is known."""
        if self._closed:
            return []
        begun = self._read - len(self._open)
        content = self._open + self._take(piece)
        stop = min((found for stop in self._stops if (found := content.find(stop)) >= 0), default=-1)
        if stop >= 0:
            self._closed = True
            return [held.told for held in self._held if held.start < begun + stop]
        certain = len(content) - max((beginning_of(stop, content) for stop in self._stops), default=0)
        self._open = content[certain:]
        count = len(self._held)
        while count and not (self._held[count - 1].start < begun + certain and self._held[count - 1].whole):
            count -= 1
        told, self._held = self._held[:count], self._held[count:]
        return [held.told for held in told]

    def finish(self) -> list[TokenLogprob]:
        """Take the completion's end; give what was held back."""
        if self._closed:
            return []
        self._closed = True
        told = [held.told for held in self._held]
        if rest := self._decoder.decode(b"", final=True):
            told[-1] = told[-1].model_copy(update={"token": told[-1].token + rest})
        return told

    def _take(self, piece: CompletionDelta | Completion) -> bytes:
        """Hold the tokens of a piece; give their bytes."""
        nothing: tuple[Alternatives, ...] = ((),) * len(piece.token_ids)
        new = zip(piece.token_ids, piece.logprobs, piece.alternatives or nothing, strict=True)
        sampled = [*self._ends, *(_Sampled(id=id_, logprob=found, likeliest=top) for id_, found, top in new)]
        count = len(sampled)
        while count and sampled[count - 1].id in self._codec.end_token_ids:
            count -= 1
        self._ends = sampled[count:]
        pieces = self._codec.token_pieces([one.id for one in sampled[:count]])
        for one, said in zip(sampled, pieces, strict=False):
            told = TokenLogprob(
                token=self._decoder.decode(said),
                logprob=one.logprob,
                bytes=list(said),
                top_logprobs=self._tops(one.likeliest),
            )
            self._held.append(_Held(start=self._read, told=told, whole=not self._decoder.getstate()[0]))
            self._read += len(said)
        return b"".join(pieces)

    def _tops(self, likeliest: Alternatives) -> list[TopLogprob]:
        pieces = self._codec.token_pieces([token for token, _ in likeliest])
        return [
            TopLogprob(token=said.decode(errors="replace"), logprob=found, bytes=list(said))
            for said, (_, found) in zip(pieces, likeliest, strict=True)
        ]


def logprobs_of(completion: Completion, *, codec: SequenceCodec, stops: Sequence[str]) -> list[TokenLogprob]:
    """List the tokens of a whole completion that begin before the first stop, without end tokens."""
    reader = LogprobReader(codec, stops=stops)
    return [*reader.feed(completion), *reader.finish()]
