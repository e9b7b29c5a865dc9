"""An engine's times are fitted to measured rows by hand-made examples, and the committed rows can be fitted."""

import pytest

from benchmarks.scale.checks import checks_of
from benchmarks.scale.service_time import RESULTS, fitted, measured

ALONE = {"server": "ours", "load": "one", "first_text_s": 0.2, "seconds": 0.2 + 10 * 0.05, "tokens": 11}
EIGHT = {"server": "ours", "load": "n8", "first_text_s": 0.3, "seconds": 0.3 + 10 * 0.12, "tokens": 88}
SCORE = {"contender": "ours_http", "workload": "g8", "seconds": 2.0, "tokens": 1000}


def test_a_step_is_a_part_for_the_weights_and_a_part_for_each_sequence() -> None:
    # 0.05 s alone and 0.12 s of eight: 0.01 s each, and 0.04 s whatever their number.
    found = fitted([ALONE, EIGHT, ALONE | {"server": "vllm", "seconds": 9.0}], [SCORE])
    assert (found.fixed_s, found.each_s) == (pytest.approx(0.04), pytest.approx(0.01))
    assert found.first_s == 0.2
    assert found.explain_s(11, at_work=1) == pytest.approx(0.7)
    assert found.explain_s(1, at_work=8) == 0.2
    assert found.score_s(500) == pytest.approx(1.0)


def test_rows_that_cannot_be_of_one_engine_are_refused() -> None:
    with pytest.raises(ValueError, match="missing"):
        fitted([ALONE], [SCORE])
    with pytest.raises(ValueError, match="missing"):
        fitted([ALONE, EIGHT], [SCORE | {"workload": "long"}])
    with pytest.raises(ValueError, match="a step of eight"):
        fitted([ALONE, EIGHT | {"seconds": 0.3 + 10 * 0.04}], [SCORE])


def test_the_committed_rows_give_times_of_this_kind_of_machine() -> None:
    found = measured()
    assert 0.01 < found.fixed_s < 0.2
    assert 0.0 <= found.each_s < 0.05
    assert 0.0005 < found.token_s < 0.01


def test_the_model_is_within_half_of_what_it_was_not_fitted_to() -> None:
    checks = checks_of(RESULTS, {})
    assert len(checks) == 4
    for check in checks:
        assert 0.5 < check.ratio < 1.5, check
