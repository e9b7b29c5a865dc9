from collections.abc import Callable

import pytest

from rlt_core.errors import EngineUnavailableError, InvalidRequestError, RltError, ScoringError
from rlt_core.schemas.score import CompletionTokens, ExplanationInput, ScoreRequest
from rlt_train.services import SCORE_CALL_TOKENS, score_calls
from tests.support.patience import Clock


def failing(times: int, error: RltError) -> Callable[[], str]:
    left = [times]

    def action() -> str:
        if left[0] == 0:
            return "answer"
        left[0] -= 1
        raise error

    return action


def test_engine_that_is_away_is_waited_for() -> None:
    clock = Clock()
    assert clock.patience().call(failing(20, EngineUnavailableError("starting")), what="explaining") == "answer"
    assert len(clock.told) == 21
    assert "explaining failed (starting)" in clock.told[0]
    assert clock.told[-1].startswith("explaining works again after")


def test_waiting_ends_after_half_an_hour_with_the_error_itself() -> None:
    clock = Clock()
    with pytest.raises(EngineUnavailableError):
        clock.patience().call(failing(10**6, EngineUnavailableError("gone")), what="explaining")
    assert 1800.0 <= clock.now_s < 1900.0


def test_patience_begins_with_the_first_failure_however_long_the_call_took() -> None:
    clock, tried = Clock(), [0]

    def slow() -> str:
        clock.now_s += 3600.0
        tried[0] += 1
        if tried[0] < 2:
            raise EngineUnavailableError("restarted")
        return "answer"

    assert clock.patience().call(slow, what="explaining") == "answer"


def test_pauses_grow_and_respect_what_the_server_asks() -> None:
    clock = Clock()
    clock.patience().call(failing(1, EngineUnavailableError("busy", retry_after_s=20.0)), what="scoring")
    assert 15.0 < clock.now_s < 30.1


def test_failed_scoring_is_tried_again_a_few_times_and_then_an_error() -> None:
    assert Clock().patience().call(failing(4, ScoringError("nan")), what="scoring") == "answer"
    with pytest.raises(ScoringError):
        Clock().patience().call(failing(5, ScoringError("nan")), what="scoring")


def test_what_no_retry_can_help_is_an_error_at_once() -> None:
    clock = Clock()
    with pytest.raises(InvalidRequestError):
        clock.patience().call(failing(1, InvalidRequestError("too long")), what="explaining")
    assert clock.now_s == 0.0


def test_score_calls_keep_order_and_fit_a_body() -> None:
    def request(number: int, tokens: int) -> ScoreRequest:
        ids = CompletionTokens(
            completion_token_ids=[1] * tokens,
            completion_logprobs=[0.0] * tokens,
            explanation=(0, tokens),
            temperature=1.0,
        )
        return ScoreRequest(question=str(number), solution="s", explanations=[ExplanationInput(tokens=ids)])

    sizes = [SCORE_CALL_TOKENS // 2, SCORE_CALL_TOKENS // 2, 1, SCORE_CALL_TOKENS + 1, 5]
    calls = score_calls([request(number, tokens) for number, tokens in enumerate(sizes)])
    assert [[entry.question for entry in call] for call in calls] == [["0", "1"], ["2"], ["3"], ["4"]]
