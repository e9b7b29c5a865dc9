"""Which log-probs of a chat are told, and when: whole and in pieces the same."""

import random

import pytest

from rlt_core.schemas.chat import TokenLogprob
from rlt_service.chat.logprobs import LogprobReader, logprobs_of
from rlt_service.engine.protocol import Completion, CompletionDelta
from rlt_tokens import byte_codec

CODEC = byte_codec()
END = min(CODEC.end_token_ids)


def told_in_pieces(ids: list[int], *, stops: list[str], sizes: list[int]) -> list[list[TokenLogprob]]:
    reader, told, start = LogprobReader(CODEC, stops=stops), list[list[TokenLogprob]](), 0
    for size in sizes:
        piece = tuple(ids[start : start + size])
        delta = CompletionDelta(
            index=0, token_ids=piece, logprobs=tuple(-1.0 * (start + at) for at in range(len(piece)))
        )
        told.append(reader.feed(delta))
        start += size
    return [*told, reader.finish()]


def whole_of(ids: list[int]) -> Completion:
    logprobs = tuple(-1.0 * place for place in range(len(ids)))
    return Completion(index=0, token_ids=tuple(ids), logprobs=logprobs, finish_reason="stop")


@pytest.mark.parametrize("stops", [[], ["stop"], ["op", "é s"], ["never"]])
@pytest.mark.parametrize("text", ["né sto stop it", "😀é", "", "so sto", "stop"])
def test_pieces_of_any_sizes_tell_what_the_whole_tells(text: str, stops: list[str]) -> None:
    dice = random.Random(0)
    ids = [*CODEC.encode_text(text), END]
    expected = logprobs_of(whole_of(ids), codec=CODEC, stops=stops)
    for _ in range(20):
        sizes = [dice.randint(1, 4) for _ in ids]
        told = told_in_pieces(ids, stops=stops, sizes=sizes)
        assert [one for piece in told for one in piece] == expected
    end = min((found for stop in stops if (found := text.find(stop)) >= 0), default=len(text))
    said = bytes(byte for one in expected for byte in one.bytes)
    assert said.startswith(text[:end].encode())
    assert [one.logprob for one in expected] == [-1.0 * place for place in range(len(expected))]


def test_what_may_be_a_stop_and_half_a_character_are_held_back_and_told_at_the_end() -> None:
    ids = [token for part in ("a", "s", "t") for token in CODEC.encode_text(part)]
    told = told_in_pieces(ids, stops=["stop"], sizes=[1, 1, 1])
    assert [[one.token for one in piece] for piece in told] == [["a"], [], [], ["s", "t"]]
    half = CODEC.encode_text("é")[:1]
    assert CODEC.token_pieces(half) == ["é".encode()[:1]]
    assert [[one.token for one in piece] for piece in told_in_pieces(half, stops=[], sizes=[1])] == [[], ["\ufffd"]]


def test_an_end_token_is_told_only_where_something_follows_it() -> None:
    ids = [*CODEC.encode_text("a"), END, *CODEC.encode_text("b"), END]
    pieces = told_in_pieces(ids, stops=[], sizes=[1] * len(ids))
    assert [one.logprob for piece in pieces for one in piece] == [0.0, -1.0, -2.0]
