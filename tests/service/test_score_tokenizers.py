"""Teacher and student with different tokenizers, on two fake engines: one makes words of bytes, one does not.

Numbers by the fake's rule at temperature 1: -0.1 for an id that stands earlier in the sequence, else -2.0. Of the
explanation "the 4" the words engine makes |the| |4|, the bytes engine |t|h|e| |4|. Both instructions hold "the" and
spaces, so only the 4 is ever new: to the student, who has not read the solution "42".
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from rlt_core.errors import EngineUnavailableError, InvalidRequestError, PromptTooLongError, ScoringError
from rlt_core.schemas.explain import ExplainRequest
from rlt_core.schemas.score import CompletionTokens, ExplanationInput, RewardConfig, ScoreRequest, ScoreResponse
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import EngineInfo, SequenceScoreResult
from tests.support.scoring import OneEach, Recording, make_explainer, make_scorer

approx = pytest.approx

QUESTION: dict[str, Any] = {"question": "What is 17 + 25?", "solution": "42"}
CLOSE = "<|end_of_explanation|>"


@pytest_asyncio.fixture
async def words() -> AsyncIterator[Recording]:
    engine = Recording()
    await engine.start()
    yield engine
    await engine.stop()


@pytest_asyncio.fixture
async def letters() -> AsyncIterator[Recording]:
    engine = Recording(FakeOptions(merges=()))
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
def engines(words: Recording, letters: Recording) -> OneEach:
    return OneEach({"words@0": words, "letters@0": letters})


async def ask(engines: OneEach, explanations: list[Any], *, estimator: Any = "k1", **fields: Any) -> ScoreResponse:
    reward = RewardConfig(temperature=1.0, kl_estimator=estimator)
    scorer = make_scorer(engines)
    return await scorer.score(ScoreRequest(**QUESTION, explanations=explanations, reward=reward, **fields))


def written(engine: FakeEngine, text: str, logprobs: list[float], *, named: bool = True) -> ExplanationInput:
    """Give a completion as `engine` would have written it; `logprobs` are those of T, of the rest -1."""
    ids = engine.codec.encode_text(text)
    return ExplanationInput(
        tokens=CompletionTokens(
            completion_token_ids=ids,
            completion_logprobs=logprobs + [-1.0] * (len(ids) - len(logprobs)),
            explanation=(0, len(logprobs)),
            temperature=1.0,
            tokenizer=engine.codec.fingerprint if named else None,
        )
    )


def listed(found: ScoreResponse) -> list[tuple[str, Any, Any, Any]]:
    """Give the first score's tokens of the explanation: text, log-prob, the teacher's and the divergence."""
    tokens = found.scores[0].tokens or []
    return [(t.text, t.logprob, t.teacher_logprob, t.kl) for t in tokens if t.segment == "explanation"]


def test_tokenizers_are_told_apart_by_their_fingerprints(words: Recording, letters: Recording) -> None:
    assert words.codec.fingerprint != letters.codec.fingerprint
    assert words.codec.token_texts(words.codec.encode_text("the 4")) == ["the", " ", "4"]
    assert letters.codec.token_texts(letters.codec.encode_text("the 4")) == ["t", "h", "e", " ", "4"]


async def test_a_teacher_of_longer_tokens_is_compared_piece_by_piece(engines: OneEach) -> None:
    found = await ask(engines, ["the 4"], student="letters@0", teacher="words@0", include=["tokens"])
    only = found.scores[0]
    # Pieces: "the" -0.1 + 0.3 = 0.2; " " -0.1 + 0.1 = 0; "4" -0.1 + 2.0 = 1.9. Three tokens T: mean 0.7, max 1.9.
    assert only.kl is not None
    assert (only.kl.mean, only.kl.max, only.kl.tokens, only.kl.aligned) == (approx(0.7), approx(1.9), 3, "characters")
    # r_kl = 3 * 0.7 + 0.03 * 1.9 = 2.157; the student finds both tokens of 42 seen: r_ss = -0.1 - 0.001
    assert (only.r_kl, only.r_ss, only.reward) == approx((2.157, -0.101, -2.258))
    third = approx(-0.1 / 3), approx(0.2 / 3)
    assert listed(found) == [
        ("t", approx(-0.1), *third),
        ("h", approx(-0.1), *third),
        ("e", approx(-0.1), *third),
        (" ", approx(-0.1), approx(-0.1), approx(0.0)),
        ("4", approx(-2.0), approx(-0.1), approx(1.9)),
    ]
    assert found.terms == ["solution", "kl", "format"]


async def test_a_teacher_of_shorter_tokens_is_compared_piece_by_piece(engines: OneEach) -> None:
    found = await ask(engines, ["the 4"], student="words@0", teacher="letters@0", include=["tokens"])
    # "the" -0.3 + 0.1 = -0.2, a third of it on each of t, h, e; " " 0; "4" 1.9: five tokens T, mean 1.7 / 5 = 0.34
    assert found.scores[0].kl is not None
    assert (found.scores[0].kl.mean, found.scores[0].kl.max, found.scores[0].kl.tokens) == approx((0.34, 1.9, 5))
    assert listed(found) == [
        ("the", approx(-0.1), approx(-0.3), approx(-0.2)),
        (" ", approx(-0.1), approx(-0.1), approx(0.0)),
        ("4", approx(-2.0), approx(-0.1), approx(1.9)),
    ]


async def test_k3_is_taken_of_the_log_ratios_that_were_spread(engines: OneEach) -> None:
    found = await ask(engines, ["the 4"], student="letters@0", teacher="words@0", estimator="k3", include=["tokens"])
    # 0.2 - 1 + e^-0.2 = 0.018731; 0; 1.9 - 1 + e^-1.9 = 1.049569; mean 0.356100
    assert found.scores[0].kl is not None
    assert (found.scores[0].kl.mean, found.scores[0].kl.max) == approx((0.356100, 1.049569), abs=1e-6)
    assert [kl for *_, kl in listed(found)][:3] == approx([0.018731 / 3] * 3, abs=1e-6)


async def test_the_students_part_is_what_it_is_without_a_teacher(engines: OneEach) -> None:
    alone = await ask(engines, ["the 4"], student="letters@0", baseline=True)
    both = await ask(engines, ["the 4"], student="letters@0", teacher="words@0", baseline=True)
    assert (both.scores[0].r_ss, both.scores[0].uplift) == (alone.scores[0].r_ss, alone.scores[0].uplift)
    assert both.scores[0].solution == alone.scores[0].solution


async def test_tokens_of_the_teacher_are_read_as_text_by_the_student(engines: OneEach, words: Recording) -> None:
    entry = written(words, f"the 4{CLOSE}", [-0.1, -0.1, -0.1])
    given = await ask(engines, [entry], student="letters@0", include=["tokens", "sequence"])
    named = await ask(engines, ["the 4"], student="letters@0", teacher="words@0", include=["tokens", "sequence"])
    # The log-probs are those that the teacher has by the rule, so the scores are the very same.
    assert given.scores == named.scores
    assert given.teacher is None


async def test_a_named_teacher_reads_the_ids_as_it_wrote_them(engines: OneEach, words: Recording) -> None:
    # Letter by letter, as the words engine would not encode the text: five tokens T.
    letters = [token for letter in "the 4" for token in words.codec.encode_text(letter)]
    for tokenizer in (words.codec.fingerprint, None):
        tokens = CompletionTokens(
            completion_token_ids=letters,
            completion_logprobs=[-7.0] * 5,
            explanation=(0, 5),
            temperature=1.0,
            tokenizer=tokenizer,
        )
        found = await ask(engines, [ExplanationInput(tokens=tokens)], student="letters@0", teacher="words@0")
        assert found.scores[0].kl is not None
        assert (found.scores[0].kl.tokens, found.scores[0].kl.aligned) == (5, "characters")
        span = words.batches[-1][0]
        assert list(span.token_ids[span.start : span.start + 5]) == letters


async def test_tokens_without_a_tokenizers_name_are_the_students(engines: OneEach, letters: Recording) -> None:
    entry = written(letters, f"the 4{CLOSE}", [-0.1] * 5, named=False)
    found = await ask(engines, [entry], student="letters@0")
    assert found.scores[0].kl is not None
    assert (found.scores[0].kl.mean, found.scores[0].kl.tokens, found.scores[0].kl.aligned) == (
        approx(1.9 / 5),
        5,
        "tokens",
    )


async def test_tokens_that_nobody_here_can_read_are_refused(engines: OneEach, words: Recording) -> None:
    known = written(words, f"the 4{CLOSE}", [-0.1] * 3)
    assert known.tokens is not None
    strange = known.model_copy(update={"tokens": known.tokens.model_copy(update={"tokenizer": "sha256:0123"})})
    with pytest.raises(InvalidRequestError, match=r"'sha256:0123'.*send the text alone, and name the teacher") as found:
        await ask(engines, [known, strange], student="letters@0")
    assert found.value.param == "/explanations/1/tokens/tokenizer"


async def test_tokens_that_are_not_the_named_teachers_are_refused(engines: OneEach, letters: Recording) -> None:
    entry = written(letters, f"the 4{CLOSE}", [-0.1] * 5)
    with pytest.raises(InvalidRequestError, match=r"named teacher's is .*send the text alone") as found:
        await ask(engines, [entry], student="letters@0", teacher="words@0")
    assert found.value.param == "/explanations/0/tokens/tokenizer"


async def test_the_rest_of_a_straddling_token_has_no_divergence(engines: OneEach, words: Recording) -> None:
    entry = written(words, f"the 4.{CLOSE}", [-0.1] * 3)  # the fourth token is `.<`
    found = await ask(engines, [entry], student="letters@0", include=["tokens"])
    assert found.scores[0].kl is not None
    assert (found.scores[0].kl.mean, found.scores[0].kl.tokens) == approx((0.7, 3))
    # The instruction ends in a full stop, so the student has seen it.
    assert listed(found)[-1] == (".", approx(-0.1), None, None)


async def test_a_students_token_that_reaches_into_the_rest_leaves_its_piece_out(words: Recording) -> None:
    pairs = Recording(FakeOptions(merges=("! .",)))
    await pairs.start()
    engines = OneEach({"words@0": words, "pairs@0": pairs})
    entry = written(words, f"4!.{CLOSE}", [-0.1, -0.5])  # |4|!|.<|, by the student |4|!.|
    found = await ask(engines, [entry], student="pairs@0", include=["tokens"])
    assert found.scores[0].kl is not None
    assert (found.scores[0].kl.mean, found.scores[0].kl.tokens) == approx((1.9, 1))
    assert listed(found) == [("4", approx(-2.0), approx(-0.1), approx(1.9)), ("!.", approx(-2.0), None, None)]


async def test_half_a_character_is_compared_with_what_the_student_reads_for_it(
    engines: OneEach, words: Recording
) -> None:
    half = words.codec.encode_text("\u00e9")[:1]
    tokens = CompletionTokens(
        completion_token_ids=half,
        completion_logprobs=[-1.0],
        explanation=(0, 1),
        temperature=1.0,
        tokenizer=words.codec.fingerprint,
    )
    found = await ask(engines, [ExplanationInput(tokens=tokens)], student="letters@0", include=["tokens"])
    # It reads U+FFFD, three bytes that are new to it: -1.0 + 6.0 = 5.0 on the teacher's one token.
    assert found.scores[0].kl is not None
    assert (found.scores[0].kl.mean, found.scores[0].kl.tokens, found.scores[0].format) == approx((5.0, 1, -1.0))
    assert [text for text, *_ in listed(found)] == ["", "", "\ufffd"]


async def test_an_empty_explanation_costs_what_it_always_costs(engines: OneEach, words: Recording) -> None:
    for found in (
        await ask(engines, [""], student="letters@0", teacher="words@0"),
        await ask(engines, [written(words, CLOSE, [])], student="letters@0"),
    ):
        assert found.scores[0].kl is not None
        assert (found.scores[0].kl.tokens, found.scores[0].kl.aligned) == (0, "characters")
        assert found.scores[0].r_kl == approx(3.03)


async def test_each_engine_is_asked_for_its_own_in_one_batch(
    engines: OneEach, words: Recording, letters: Recording
) -> None:
    found = await ask(engines, ["the 4", ""], student="letters@0", teacher="words@0", baseline=True)
    # Two explanations and the baseline for the student; an empty explanation is nothing that a teacher could read.
    assert ([len(batch) for batch in letters.batches], [len(batch) for batch in words.batches]) == ([3], [1])
    asked = [*letters.batches[0], *words.batches[0]]
    assert found.usage.prompt_tokens == sum(len(request.token_ids) for request in asked)


async def test_one_engine_gets_one_batch_for_both(engines: OneEach, words: Recording) -> None:
    await ask(engines, ["the 4"], student="words@0", teacher="words@0", baseline=True)
    assert [len(batch) for batch in words.batches] == [3]


async def test_two_engines_of_one_tokenizer_score_as_one_does(words: Recording) -> None:
    twin = Recording()
    await twin.start()
    apart = await ask(OneEach({"words@0": words, "twin@0": twin}), ["the 4"], student="words@0", teacher="twin@0")
    together = await ask(OneEach({"words@0": words}), ["the 4"], student="words@0", teacher="words@0")
    assert apart.scores == together.scores
    assert apart.scores[0].kl is not None
    assert apart.scores[0].kl.aligned == "tokens"
    assert len(twin.batches) == 1


async def test_what_the_teacher_reads_must_fit_its_own_engine(letters: Recording) -> None:
    small = Recording(FakeOptions(max_model_len=100))
    await small.start()
    engines = OneEach({"letters@0": letters, "small@0": small})
    with pytest.raises(PromptTooLongError, match=r"what the teacher reads has .* this engine holds 100") as found:
        await ask(engines, ["the 4"], student="letters@0", teacher="small@0")
    assert found.value.param == "/explanations/0"


async def test_scores_that_come_with_an_explanation_are_aligned_too(engines: OneEach, words: Recording) -> None:
    explainer = make_explainer(engines, default="letters@0")
    made = await explainer.explain(ExplainRequest(**QUESTION, teacher="words@0", seed=1, include=["tokens", "score"]))
    assert made.score is not None
    assert (made.score.student.version, made.score.terms) == ("letters@0", ["solution", "kl", "format"])
    tokens, kl = made.explanations[0].tokens, made.score.scores[0].kl
    assert tokens is not None
    assert kl is not None
    assert tokens.tokenizer == words.codec.fingerprint
    assert (kl.aligned, kl.tokens) == ("characters", tokens.explanation[1])


class Unavailable(FakeEngine):
    """Answers no score."""

    async def score(self, requests: Any) -> list[SequenceScoreResult]:
        raise EngineUnavailableError("gone")


class Slow(FakeEngine):
    """Notes how many leases were held when its scoring ended."""

    engines: OneEach
    held_when_ended: int | None = None

    async def score(self, requests: Any) -> list[SequenceScoreResult]:
        try:
            return await super().score(requests)
        finally:
            self.held_when_ended = self.engines.held


async def test_where_one_engine_fails_the_other_is_called_off_before_it_is_given_back() -> None:
    slow, gone = Slow(FakeOptions(delay_s=60.0)), Unavailable()
    slow.engines = OneEach({"slow@0": slow, "gone@0": gone})
    for engine in (slow, gone):
        await engine.start()
    with pytest.raises(EngineUnavailableError, match="gone"):
        await ask(slow.engines, ["the 4"], student="slow@0", teacher="gone@0")
    assert (slow.held_when_ended, slow.engines.held) == (2, 0)


class Model(FakeEngine):
    """Passes for a real engine."""

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, name="vllm")


async def test_numbers_of_a_fake_engine_never_stand_beside_a_models(words: Recording) -> None:
    model = Model()
    await model.start()
    engines = OneEach({"words@0": words, "model@0": model})
    for student, teacher in (("model@0", "words@0"), ("words@0", "model@0")):
        with pytest.raises(ScoringError, match="'fake'"):
            await ask(engines, ["the 4"], student=student, teacher=teacher)
    assert (await ask(engines, ["the 4"], student="words@0")).engine.name == "fake"
