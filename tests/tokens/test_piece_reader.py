"""What a stream shows of a completion, piece by piece, is exactly the explanation that the whole holds."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.errors import InvalidTokenIdsError
from rlt_core.formats import STRATOS_1
from rlt_tokens import TokenizerCodec
from rlt_tokens.piece_reader import PieceReader
from rlt_tokens.token_bytes import TokenBytes

TAG = STRATOS_1.explanation_close
END = 2

# Pieces that are the tag, begin it, repeat its beginning, straddle its borders, or split a character.
CUTS = [TAG.encode()[start:end] for start in range(0, len(TAG), 3) for end in range(start + 1, len(TAG) + 1, 4)]
SPLIT = "\U0001f600\u00e9".encode()
contents = st.sampled_from(
    [*CUTS, b"<", b"<<|", b"<|end_of_<|end_of_", b".<", b"|>.", b"Two", b" ", b"\n", SPLIT[:1], SPLIT[1:3], SPLIT[3:5]]
) | st.binary(min_size=1, max_size=3)


def read(reader: PieceReader, parts: Sequence[Sequence[int]]) -> list[str]:
    return [*[reader.feed(part) for part in parts], reader.finish()]


def reader_of(pieces: Sequence[bytes], *, tag: str = TAG) -> PieceReader:
    """Make a reader to whom each of `pieces` is the token of its place."""
    return PieceReader(token_bytes=TokenBytes(by_id=tuple(pieces)), end_token_ids=(), closing_tags=[tag])


def test_text_is_shown_as_soon_as_it_cannot_be_the_tag(codec: TokenizerCodec) -> None:
    reader = codec.explanation_reader()
    assert reader.feed(codec.encode_text("Two <")) == "Two "
    assert reader.feed(codec.encode_text("|end_of_")) == ""
    assert reader.feed(codec.encode_text("line> <|end")) == "<|end_of_line> "
    assert reader.finish() == "<|end"


def test_only_the_longest_beginning_of_the_tag_is_held_back(codec: TokenizerCodec) -> None:
    reader = codec.explanation_reader()
    assert reader.feed(codec.encode_text("<|end_of_<|end_of_")) == "<|end_of_"
    assert reader.feed(codec.encode_text("explanation|>")) == ""
    assert reader.finish() == ""


def test_nothing_is_shown_after_the_tag(codec: TokenizerCodec) -> None:
    reader = codec.explanation_reader()
    assert read(reader, [codec.encode_text(f"Two.{TAG}"), codec.encode_text("more"), [END]]) == ["Two.", "", "", ""]


def test_a_character_is_shown_when_it_is_whole(codec: TokenizerCodec) -> None:
    ids = codec.encode_text("\U0001f600!")
    assert read(codec.explanation_reader(), [ids[:2], ids[2:3], ids[3:]]) == ["", "", "\U0001f600!", ""]


def test_end_tokens_are_text_only_where_text_comes_after_them(codec: TokenizerCodec) -> None:
    ids = codec.encode_text("Two")
    assert read(codec.explanation_reader(), [ids, [END], [END]]) == ["Two", "", "", ""]
    assert "".join(read(codec.explanation_reader(), [ids, [END], ids])) == "Two<|im_end|>Two"


def test_a_straddling_token_gives_what_it_holds_before_the_tag(codec: TokenizerCodec) -> None:
    ids = codec.encode_text("Two." + TAG)
    assert codec.token_texts(ids)[3] == ".<"
    assert "".join(read(codec.explanation_reader(), [[token] for token in ids])) == "Two."


def test_ids_that_are_none_are_refused(codec: TokenizerCodec) -> None:
    with pytest.raises(InvalidTokenIdsError, match="999"):
        codec.explanation_reader().feed([999])


@given(pieces=st.lists(contents, max_size=12))
def test_any_pieces_joined_are_the_text_before_the_first_tag(pieces: list[bytes]) -> None:
    shown = read(reader_of(pieces), [[place] for place in range(len(pieces))])
    assert "".join(shown) == b"".join(pieces).partition(TAG.encode())[0].decode("utf-8", errors="replace")


@given(pieces=st.lists(st.text("abc", min_size=1, max_size=3), max_size=12))
def test_a_tag_that_begins_anew_within_itself_is_held_back_whole(pieces: list[str]) -> None:
    tag = "aabaac"
    reader = reader_of([piece.encode() for piece in pieces], tag=tag)
    shown = read(reader, [[place] for place in range(len(pieces))])
    assert "".join(shown) == "".join(pieces).partition(tag)[0]


@given(pieces=st.lists(contents, max_size=12))
def test_no_prefix_of_the_stream_shows_what_the_whole_would_not(pieces: list[bytes]) -> None:
    reader, shown = reader_of(pieces), ""
    for place in range(len(pieces)):
        shown += reader.feed([place])
        # Whatever comes next, even the rest of the tag, what was shown stands.
        for rest in range(len(TAG) + 1):
            ending = (b"".join(pieces[: place + 1]) + TAG.encode()[rest:]).partition(TAG.encode())[0]
            assert ending.decode("utf-8", errors="replace").startswith(shown)


@given(
    ids=st.lists(st.integers(0, 268), max_size=12),
    closed=st.booleans(),
    tail=st.lists(st.sampled_from([END, END, 40]), max_size=3),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_any_ids_cut_anywhere_give_the_text_of_the_parsed_completion(
    codec: TokenizerCodec, ids: list[int], closed: bool, tail: list[int], cuts: list[int]
) -> None:
    whole = [*ids, *(codec.encode_text("." + TAG) if closed else codec.encode_text(TAG[:-1])), *tail]
    borders = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    parts = [whole[start:end] for start, end in pairwise(borders)]
    shown = "".join(read(codec.explanation_reader(), parts))
    assert shown == codec.parse_completion(whole).text
