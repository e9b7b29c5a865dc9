"""`rlt jobs`: what is there, how it goes, what was said and written, and moving a job."""

import json
import time
from collections.abc import Callable

import pytest

from rlt_client.cli import job_reading
from rlt_client.cli.exit_codes import ExitCode
from rlt_client.cli.job_reading import fresh, spark
from rlt_client.cli.watch import time_left
from tests.cli.conftest import Ended, Rlt
from tests.support.control import Control

Good = Callable[..., Ended]
UNKNOWN = "job_" + "0" * 20


def test_jobs_are_listed_as_rows_and_as_the_server_s_page(control: Control, good: Good) -> None:
    control.services.jobs.cancel(control.job().id)
    job = control.job(name="listed [one]")
    head, *rows = good("jobs", "list", "--status", "queued", "--kind", "rl").cells
    assert head == ["id", "kind", "status", "step", "created", "name"]
    assert [row[-1] for row in rows if row[0] == job.id] == ["listed [one]"]
    page = good("jobs", "list", "--json", "--limit", "1").json
    assert (page["object"], [one["id"] for one in page["data"]], page["has_more"]) == ("list", [job.id], True)
    good("jobs", "cancel", job.id)


def test_an_empty_list_is_a_sentence_on_a_terminal_and_the_head_alone_in_a_pipe(good: Good) -> None:
    call = ("jobs", "list", "--pipeline", UNKNOWN)
    assert "no jobs" in good(*call, terminal=True).out
    assert len(good(*call).cells) == 1
    assert good(*call, "--json").json["data"] == []


def test_a_job_shows_where_it_stands_and_how_long_it_still_takes(reported: str, good: Good) -> None:
    shown = good("jobs", "show", reported).out
    assert "step 3/4, 1 min 30 s left, attempt 1" in shown
    assert "reward: -0.7" in shown
    assert good("jobs", "show", reported, "--json").json["progress"]["step"] == 3


def test_metrics_are_rows_in_a_pipe_and_curves_on_a_terminal(reported: str, good: Good, rlt: Rlt) -> None:
    assert good("jobs", "metrics", reported, "-m", "reward").cells == [
        ["step", "reward"],
        *(["1", "-0.9"], ["2", "-0.8"], ["3", "-0.7"]),
    ]
    curves = good("jobs", "metrics", reported, terminal=True).out
    assert "▁" in curves
    assert "█" in curves
    assert "▁" not in good("jobs", "metrics", reported, "--table", terminal=True).out
    assert good("jobs", "metrics", reported, "-m", "r_kl", "--json").json["series"] == {"r_kl": [0.5, 0.5, 0.5]}
    refused = rlt("jobs", "metrics", reported, "-m", "rewrd")
    assert refused.code == ExitCode.NOT_FOUND
    assert "Did you mean 'reward'?" in refused.err
    assert rlt("jobs", "metrics", reported, "-m", "rewrd", "--json").error["code"] == "metric_not_found"


def test_samples_are_the_newest_of_a_step_or_of_all(reported: str, good: Good) -> None:
    shown = good("jobs", "samples", reported).out
    assert shown.index("step 1") < shown.index("step 2")
    assert "One [more]." in shown
    assert "closing tag missing" in shown
    assert "step 1" not in good("jobs", "samples", reported, "--last", "1").out
    found = good("jobs", "samples", reported, "--step", "1", "--json").json
    assert (found["object"], [one["data"]["step"] for one in found["data"]]) == ("list", [1])
    assert "no sample of step 9" in good("jobs", "samples", reported, "--step", "9").out


def test_logs_are_text_or_a_line_of_json_for_each_line(reported: str, good: Good) -> None:
    assert good("jobs", "logs", reported).out == "first [line]\nsecond é\n"
    assert [line["line"] for line in good("jobs", "logs", reported, "--json").lines] == ["first [line]", "second é"]


def test_followed_logs_go_on_until_the_job_has_ended(
    reported: str, control: Control, good: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = control.services.artifacts.attempt_dir(reported, 1) / "trainer.log"

    def meanwhile(_seconds: float) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write("third\n")
        control.services.jobs.finish(reported, 1, "succeeded")

    monkeypatch.setattr(job_reading.time, "sleep", meanwhile)
    assert good("jobs", "logs", "-f", reported).out == "first [line]\nsecond é\nthird\n"


@pytest.mark.parametrize(
    ("before", "now", "beyond"),
    [
        ("", "a\n", "a\n"),
        ("a\n", "a\nb\n", "b\n"),
        ("a\n", "a\n", ""),
        ("x" * 500 + "end", "x" * 450 + "end" + "more", "more"),  # the server cut the beginning off
        ("attempt 1\n", "attempt 2\n", "attempt 2\n"),
    ],
)
def test_what_is_fresh_in_a_log_is_printed_once(before: str, now: str, beyond: str) -> None:
    assert fresh(before, now) == beyond


def test_a_curve_has_a_character_a_part_and_a_gap_where_nothing_is_known() -> None:
    assert spark([0.0, 1.0, 2.0, 3.0]) == "▁▃▆█"
    assert spark([0.0, None, 7.0]) == "▁ █"
    assert spark([5.0, 5.0]) == "▁▁"
    assert spark([None]) == ""
    assert len(spark([float(n) for n in range(1000)])) == job_reading.SPARK_WIDTH


LEFT = {0.4: "0 s", 59.0: "59 s", 61.0: "1 min 01 s", 7260.0: "2 h 01 min", 200_000.0: "2 d 7 h", -1.0: "0 s"}


@pytest.mark.parametrize(("eta_s", "said"), [(None, ""), *((eta_s, f"{said} left") for eta_s, said in LEFT.items())])
def test_time_left_is_said_in_its_two_largest_units(eta_s: float | None, said: str) -> None:
    assert time_left(eta_s) == said


def test_a_job_is_paused_resumed_and_cancelled(control: Control, good: Good, rlt: Rlt) -> None:
    job = control.job().id
    for call, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert good("jobs", call, job).out == f"{job} {status}\n"
        if call != "resume":
            assert good("jobs", call, job, "--json").json["status"] == status
    refused = rlt("jobs", "resume", job)
    assert refused.code == ExitCode.FAILED
    assert "is cancelled" in refused.err


def test_a_running_job_is_being_paused(reported: str, good: Good) -> None:
    assert good("jobs", "pause", reported).out == f"{reported} is being paused\n"
    assert good("jobs", "cancel", reported).out == f"{reported} is being cancelled\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_watching_shows_the_steps_and_ends_as_the_job_does(
    reported: str, control: Control, good: Good, *, terminal: bool
) -> None:
    control.services.jobs.finish(reported, 1, "succeeded")
    shown = good("jobs", "watch", reported, terminal=terminal).out
    assert "reward -0.7" in shown
    assert "succeeded" in shown
    assert good("jobs", "watch", reported, "--json").json["status"] == "succeeded"


def test_a_job_that_did_not_succeed_ends_with_4_also_as_json(control: Control, rlt: Rlt) -> None:
    job = control.job().id
    control.services.jobs.cancel(job)
    assert rlt("jobs", "watch", job).code == ExitCode.JOB
    ended = rlt("jobs", "watch", job, "--json")
    assert (ended.code, ended.json["status"]) == (ExitCode.JOB, "cancelled")


def test_ctrl_c_stops_watching_and_says_that_the_job_goes_on(
    reported: str, rlt: Rlt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    for call in (("watch", reported), ("logs", "-f", reported)):
        assert rlt("jobs", *call).code == ExitCode.INTERRUPTED
    assert f"rlt jobs cancel {reported}" in rlt("jobs", "watch", reported).err


@pytest.mark.parametrize("call", ["show", "watch", "logs", "metrics", "samples", "pause", "resume", "cancel"])
def test_an_unknown_job_ends_with_3(rlt: Rlt, call: str) -> None:
    error = rlt("jobs", call, UNKNOWN, "--json").error
    assert (error["code"], error["exit_code"]) == ("not_found", ExitCode.NOT_FOUND)
    assert json.dumps(error).count(UNKNOWN)
