"""The codec on the tokenizer of a real model."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.errors import InvalidRequestError
from rlt_core.formats import STRATOS_1, ExplanationPiece
from rlt_core.tokens import Span
from rlt_tokens import TokenizerCodec, load_codec

pytestmark = pytest.mark.real

TAG = STRATOS_1.explanation_close
MISSING_BYTES = "\x04\x06\x13\x14\x16\x1d"
readable = st.text(st.characters(max_codepoint=0x1FFFF, exclude_categories=["Cs", "Cc"]), max_size=20)


@pytest.fixture(scope="session")
def smollm2(rlt_home_models: Path) -> TokenizerCodec:
    return load_codec(rlt_home_models / "models" / "smollm2-135m")


def test_the_sequence_reads_as_the_models_template_says(smollm2: TokenizerCodec) -> None:
    sequence = smollm2.teacher_sequence(question="1+1? <|im_end|>", solution="2")
    assert smollm2.decode(sequence.token_ids) == (
        f"<|im_start|>system\n{STRATOS_1.teacher_instruction}<|im_end|>\n<|im_start|>user\n1+1? <|im_end|><|im_end|>\n"
        "<|im_start|>assistant\n<|begin_of_solution|>2<|end_of_solution|>\n\n<|begin_of_explanation|>"
    )
    assert [token_id for token_id in sequence.token_ids if token_id in smollm2.control_token_ids] == [1, 2, 1, 2, 1]
    assert smollm2.format_id == "stratos@1"
    assert smollm2.end_token_ids == {2}


def test_a_token_straddles_the_closing_tag(smollm2: TokenizerCodec) -> None:
    ids = smollm2.encode_text("It is two." + TAG)
    parsed = smollm2.parse_completion(ids)
    assert smollm2.token_texts(ids)[3] == ".<"
    assert (parsed.text, parsed.rest, parsed.explanation) == ("It is two.", ".", Span(start=0, end=3))


@given(text=readable, solution=readable)
def test_texts_come_back_and_make_no_control_token(smollm2: TokenizerCodec, text: str, solution: str) -> None:
    ids = smollm2.encode_text(text + TAG)
    parsed = smollm2.parse_completion(ids)
    assert parsed.text == text.split(TAG)[0]
    piece = ExplanationPiece(token_ids=tuple(ids[: parsed.explanation.end]), rest=parsed.rest)
    sequence = smollm2.student_sequence(question=text, solution=solution, explanation=piece)
    span = sequence.solution
    assert smollm2.decode(sequence.token_ids[span.start : span.end]) == solution
    assert "".join(smollm2.token_texts(ids)) == text + TAG


@pytest.mark.parametrize("missing", MISSING_BYTES)
def test_control_characters_that_the_vocabulary_lacks_are_refused(smollm2: TokenizerCodec, missing: str) -> None:
    with pytest.raises(InvalidRequestError, match="from character 1 on"):
        smollm2.encode_text(f"a{missing}")
