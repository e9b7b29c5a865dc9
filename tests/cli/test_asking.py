"""`rlt explain`, `score` and `solve`: texts, colours, marks, rows, JSON."""

import re
from collections.abc import Callable

import pytest

from rlt_client.cli.tokens import LEVELS
from tests.cli.conftest import Ended, Rlt

Good = Callable[..., Ended]
SUM = ("-q", "What is 17 + 25?", "-s", "42")
LONG = " ".join(["Seventeen and twenty-five are forty-two, since ten and thirty are forty."] * 4)
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def test_an_explanation_is_text_for_people_and_one_document_for_programs(good: Good) -> None:
    shown = good("explain", *SUM, "-n", "2", "--seed", "1")
    assert "[1/2]" in shown.out
    assert "[2/2]" in shown.out
    assert "fake@0 · fake" in shown.out
    answer = good("explain", *SUM, "-n", "2", "--seed", "1", "--json").json
    assert answer["object"] == "explanation.list"
    assert all(one["text"].strip() in shown.out for one in answer["explanations"])


def test_a_stream_is_a_line_of_json_an_event_and_ends_with_done(good: Good) -> None:
    events = good("explain", *SUM, "--seed", "1", "--stream", "--json").lines
    whole = good("explain", *SUM, "--seed", "1", "--json").json["explanations"][0]
    assert "".join(event["text"] for event in events[:-2]).strip() == whole["text"].strip()
    assert events[-2]["text"] == whole["text"]
    assert "usage" in events[-1]


@pytest.mark.parametrize("samples", ["1", "2"])
def test_a_stream_on_a_terminal_is_the_text(good: Good, samples: str) -> None:
    streamed = good("explain", *SUM, "--seed", "1", "--stream", "-n", samples).out
    for one in good("explain", *SUM, "--seed", "1", "--json", "-n", samples).json["explanations"]:
        assert one["text"].strip() in streamed
    assert "fake@0" in streamed


def test_solutions_are_told_apart_from_thoughts(good: Good) -> None:
    shown, answer = (
        good("solve", "-q", "17 + 25?", "--seed", "3"),
        good("solve", "-q", "17 + 25?", "--seed", "3", "--json"),
    )
    [one] = answer.json["solutions"]
    assert one["thought"].strip() in shown.out
    assert (one["solution"] or "no solution, ended by") in shown.out


def test_score_on_a_terminal_colours_each_token_and_says_what_colours_mean(good: Good) -> None:
    shown = good("score", *SUM, "-e", LONG, "--teacher", "default", terminal=True).out
    plain = ESCAPE.sub("", shown)
    assert ESCAPE.search(shown)
    assert "uplift" in plain
    said = " ".join(line[13:].strip() for line in plain.splitlines() if line[:13].strip() in ("explanation", ""))
    assert LONG in said
    assert all(words in plain for _, _, _, words in LEVELS)
    assert all(len(line) <= 80 for line in plain.splitlines() if not line.startswith(("[", "student")))


def test_score_without_colours_marks_what_the_student_finds_hard(good: Good, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = good("score", *SUM, "-e", LONG, terminal=True).out
    assert not re.search(r"\x1b\[[0-9;]*3[0-7][;m]", shown)
    assert "no mark" in shown
    marks = {mark for _, _, mark, _ in LEVELS if mark}
    token_lines = [line for line in ESCAPE.sub("", shown).splitlines() if "legend" not in line]
    assert any(mark in line for line in token_lines for mark in marks)


def test_score_in_a_pipe_is_a_row_a_token_and_numbers_come_on_demand(good: Good) -> None:
    piped = good("score", *SUM, "-e", "So 42.", "--teacher", "default")
    rows = [row for row in piped.cells if row[0] in ("explanation", "solution")]
    answer = good("score", *SUM, "-e", "So 42.", "--teacher", "default", "--json").json["scores"][0]
    assert [row[1] for row in rows] == [repr(token["text"]) for token in answer["tokens"]]
    assert [float(row[2]) for row in rows] == [pytest.approx(token["logprob"], abs=1e-3) for token in answer["tokens"]]
    assert rows[0][4]
    assert "\x1b" not in piped.out
    table = ESCAPE.sub("", good("score", *SUM, "-e", "So 42.", "--table", terminal=True).out)
    assert all(row[2] in table for row in rows)


def test_a_name_that_is_not_there_ends_with_3_and_names_the_field_and_the_request(rlt: Rlt) -> None:
    ended = rlt("explain", *SUM, "--teacher", "algbra")
    assert ended.code == 3
    assert "algbra" in ended.err
    assert "request req_" in ended.err
    assert "at /teacher" in ended.err
    error = rlt("explain", *SUM, "--teacher", "algbra", "--json").error
    assert (error["code"], error["status"], error["exit_code"], error["param"]) == (
        "model_not_found",
        404,
        3,
        "/teacher",
    )
    assert error["request_id"]
    assert error["retryable"] is False


def test_a_value_that_the_server_refuses_is_wrong_usage(rlt: Rlt) -> None:
    ended = rlt("explain", *SUM, "--temperature", "-1")
    assert ended.code == 2
    assert "at /temperature" in ended.err
