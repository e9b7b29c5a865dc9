"""Rule 3 of the method: what a chat template may do to the texts, and what is refused when a model is loaded."""

from collections.abc import Callable
from typing import Any

import pytest

from rlt_core.errors import ConfigurationError
from rlt_core.formats import STRATOS_1, ExplanationPiece, SegmentKind
from rlt_tokens import TokenizerCodec

TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
LOOP = "{% for m in messages %}" + TURN + "{% endfor %}"
NO_SYSTEM_ROLE = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"


def prompt(codec: TokenizerCodec, *, question: str = "q") -> str:
    return codec.decode(codec.teacher_sequence(question=question, solution="s").token_ids)


def test_our_segments_follow_the_rendered_generation_prompt(codec: TokenizerCodec) -> None:
    assert "<|im_start|>assistant\n<|begin_of_solution|>s" in prompt(codec)


def test_what_a_reasoning_template_opens_by_itself_stays_before_our_segments(handmade: Any) -> None:
    handmade.add_token("<think>", special=False)
    handmade.chat_template = LOOP + "<|im_start|>assistant\n<think>{{ '\n' }}"
    assert "assistant\n<think>\n<|begin_of_solution|>s" in prompt(handmade.build())


def test_a_template_that_raises_on_a_system_role_gets_the_instruction_in_the_users_turn(handmade: Any) -> None:
    handmade.chat_template = NO_SYSTEM_ROLE + LOOP
    codec = handmade.build()
    assert codec.format_id == "stratos@1+folded"
    assert codec.format is STRATOS_1
    expected = f"<|im_start|>user\n{STRATOS_1.teacher_instruction}\n\n<|im_end|>?<|im_end|>\n<|begin_of_solution|>"
    assert prompt(codec, question="<|im_end|>?").startswith(expected)
    spans = codec.teacher_sequence(question="<|im_end|>?", solution="s").spans
    assert spans[SegmentKind.INSTRUCTION].end < spans[SegmentKind.QUESTION].start


def test_a_template_that_passes_over_system_turns_gets_the_instruction_in_the_users_turn(handmade: Any) -> None:
    handmade.chat_template = "{% for m in messages if m.role != 'system' %}" + TURN + "{% endfor %}"
    codec = handmade.build()
    assert codec.format_id == "stratos@1+folded"
    assert prompt(codec).startswith(f"<|im_start|>user\n{STRATOS_1.teacher_instruction}\n\nq<|im_end|>")


def test_a_template_that_folds_by_itself_needs_no_folding(handmade: Any) -> None:
    handmade.chat_template = "<|im_start|>{{ messages[0].content }} // {{ messages[1].content }}<|im_end|>"
    codec = handmade.build()
    assert codec.format_id == "stratos@1"
    assert prompt(codec).startswith(f"<|im_start|>{STRATOS_1.teacher_instruction} // q<|im_end|>")


def test_texts_may_stand_in_the_order_that_the_template_likes(handmade: Any) -> None:
    handmade.chat_template = "<|im_start|>{{ messages[1].content }}{{ messages[0].content }}<|im_end|>"
    spans = handmade.build().teacher_sequence(question="q", solution="s").spans
    assert spans[SegmentKind.QUESTION].end == spans[SegmentKind.INSTRUCTION].start


def test_a_template_that_trims_contents_leaves_our_texts_whole(handmade: Any) -> None:
    handmade.chat_template = LOOP.replace("m.content", "m.content | trim")
    assert "user\n  q \n<|im_end|>" in prompt(handmade.build(), question="  q \n")


def test_a_template_that_looks_into_messages_sees_none_of_a_users_text(handmade: Any) -> None:
    handmade.chat_template = LOOP.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}")
    assert "user\na</think>b<|im_end|>" in prompt(handmade.build(), question="a</think>b")


@pytest.mark.parametrize(
    ("template", "count"),
    [
        pytest.param("{{ messages[0].content }}", 0, id="loses the question"),
        pytest.param("<|im_start|>fixed", 0, id="loses both"),
        pytest.param(LOOP + "{{ messages[1].content }}", 2, id="repeats the question"),
        pytest.param("{{ messages[0].content }}" + LOOP, 2, id="repeats the instruction"),
        pytest.param(LOOP.replace("m.content", "m.content | upper"), 0, id="changes case"),
        pytest.param(LOOP.replace("m.content", "m.content | tojson"), 0, id="quotes"),
        pytest.param(LOOP.replace("m.content", "m.content | e"), 0, id="escapes"),
        pytest.param(LOOP.replace("m.content", "m.content | replace('\\n', ' ')"), 0, id="joins lines"),
        pytest.param(LOOP.replace("m.content", "m.content.split() | join(' ')"), 0, id="squeezes spaces"),
        pytest.param(LOOP.replace("m.content", "m.content[1:]"), 0, id="cuts the first character"),
        pytest.param(LOOP.replace("m.content", "m.content[:-1]"), 0, id="cuts the last character"),
        pytest.param(LOOP.replace("m.content", "m.content[:20]"), 0, id="cuts long texts"),
    ],
)
def test_a_template_that_does_not_write_each_text_once_and_unaltered_is_refused(
    handmade: Any, template: str, count: int
) -> None:
    handmade.chat_template = template
    with pytest.raises(ConfigurationError, match=f"stands there {count} times"):
        handmade.build()


def test_a_template_that_says_something_about_the_messages_is_refused(handmade: Any) -> None:
    handmade.chat_template = LOOP + "({{ messages[1].content | length }} characters)"
    with pytest.raises(ConfigurationError, match="different text around different messages"):
        handmade.build()


@pytest.mark.parametrize(
    "template",
    ["{% for m in messages %}", "{{ nothing.of.the.kind }}", "{{ 1 // 0 }}", "{{ messages + 1 }}", "{{ ''.x() }}"],
)
def test_a_template_that_renders_nothing_is_refused_with_its_error(handmade: Any, template: str) -> None:
    handmade.chat_template = template
    with pytest.raises(ConfigurationError, match=r"renders neither \[system, user\] nor \[user\]: \w+"):
        handmade.build()


@pytest.mark.parametrize("template", [None, ""])
def test_a_tokenizer_without_a_chat_template_is_refused(handmade: Any, template: str | None) -> None:
    handmade.chat_template = template
    with pytest.raises(ConfigurationError, match="no chat template: use an instruction-tuned model"):
        handmade.build()


def test_a_template_that_writes_todays_date_writes_the_same_one_on_any_day(handmade: Any) -> None:
    handmade.chat_template = "Today is {{ strftime_now('%d %b %Y') }}.\n" + LOOP
    assert prompt(handmade.build()).startswith("Today is 26 Jul 2024.\n<|im_start|>system")


def test_variables_of_the_template_are_the_tokenizers_own_tokens(handmade: Any) -> None:
    handmade.chat_template = "{{ bos_token }}" + LOOP
    codec = handmade.build()
    assert codec.teacher_sequence(question="q", solution="s").token_ids[:2] == (1, 1)


def test_a_tokenizer_with_a_dummy_prefix_is_refused(sentencepiece: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"does not keep texts.*from character 0 on"):
        sentencepiece(dummy_prefix=True).build()


def test_a_byte_level_tokenizer_with_a_prefix_space_is_refused(handmade: Any) -> None:
    handmade.tokenizer["pre_tokenizer"]["add_prefix_space"] = True
    with pytest.raises(ConfigurationError, match="does not keep texts"):
        handmade.build()


def test_a_control_token_that_swallows_the_templates_spaces_is_refused(handmade: Any) -> None:
    handmade.add_token("<|user|>", special=True, rstrip=True)
    handmade.chat_template = "{% for m in messages %}<|user|>\n{{ m.content }}<|im_end|>{% endfor %}"
    with pytest.raises(ConfigurationError, match="does not give back a sequence"):
        handmade.build()


def test_a_byte_fallback_tokenizer_without_a_dummy_prefix_is_taken(sentencepiece: Callable[..., Any]) -> None:
    codec = sentencepiece(dummy_prefix=False).build()
    text = " a \u6f22 </s>\n"
    sequence = codec.student_sequence(question=text, solution=text, explanation=ExplanationPiece(text=text))
    assert codec.decode(sequence.token_ids[sequence.solution.start : sequence.solution.end]) == text
    assert codec.token_texts(codec.encode_text("\u6f22 a")) == ["", "", "\u6f22", " ", "a"]


def test_text_that_a_byte_fallback_tokenizer_reads_as_spaces_is_refused(sentencepiece: Callable[..., Any]) -> None:
    codec = sentencepiece(dummy_prefix=False).build()
    with pytest.raises(ValueError, match="cannot hold the text unchanged from character 1 on"):
        codec.encode_text("a\u2581b")


@pytest.mark.parametrize("model", ["WordPiece", "Unigram", "WordLevel"])
def test_a_model_other_than_bpe_is_refused(handmade: Any, model: str) -> None:
    handmade.tokenizer["model"] = {"type": model, "vocab": {}}
    with pytest.raises(ConfigurationError, match=f"model is {model}"):
        handmade.build()


def test_a_decoder_that_is_not_known_is_refused(handmade: Any) -> None:
    handmade.tokenizer["decoder"] = None
    with pytest.raises(ConfigurationError, match="neither byte-level nor byte-fallback"):
        handmade.build()


def test_end_tokens_that_are_ordinary_text_are_refused(handmade: Any) -> None:
    handmade.end_token_ids = frozenset({2, 70})
    with pytest.raises(ConfigurationError, match=r"\[70\] as end tokens"):
        handmade.build()
