"""Own the proof, at load, that a sequence encoded in segments gives back exactly the text that went in."""

from collections.abc import Sequence

from rlt_core.errors import ConfigurationError, InvalidRequestError
from rlt_core.formats import ExplanationPiece, Segment
from rlt_tokens.codec import TokenizerCodec

PROBES = (
    "x",
    "  two  spaces, then lines\n\n\tand a tab \n",
    "\n",
    "na\u00efve Upper x\u00b2 = \u00bd \u6f22\u5b57 \U0001f600 .<",
)
"""Texts that must come back unchanged: prefixes put in, spaces stripped, case or width folded show here."""


def prove_round_trip(codec: TokenizerCodec, *, control_texts: Sequence[str]) -> None:
    """Encode both sequences around probe texts and the control tokens' own texts, and compare what comes back.

    Raises ConfigurationError where it is not the text that went in.
    """
    for text in (*PROBES, " ".join(control_texts)):
        piece = ExplanationPiece(text=text)
        for sequence in (
            codec.format.teacher(question=text, solution=text, explanation=piece),
            codec.format.student(question=text, solution=text, explanation=piece),
        ):
            _prove_segments(codec, segments=codec.segments(sequence))


def _prove_segments(codec: TokenizerCodec, *, segments: Sequence[Segment]) -> None:
    expected = "".join(segment.text for segment in segments)
    try:
        token_ids = [token_id for segment in segments for token_id in codec.segment_ids(segment)]
    except InvalidRequestError as error:
        raise ConfigurationError(
            f"the tokenizer does not keep texts when a sequence is encoded in segments ({error}): it must put in and "
            "take out nothing, such as a space before each text; use a model with a byte-level BPE tokenizer"
        ) from error
    if (got := codec.decode(token_ids)) != expected:
        raise ConfigurationError(
            f"the tokenizer does not give back a sequence that was encoded in segments: {expected[:300]!r} became "
            f"{got[:300]!r}; use a model with a byte-level BPE tokenizer"
        )
