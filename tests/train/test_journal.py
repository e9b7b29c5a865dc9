"""A step's journal is replayed as it was written, by the job, step and policy that wrote it, or not at all."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.score import CompletionTokens, KlScore, Score, SolutionScore
from rlt_train.journal import Journal, Recalled
from rlt_train.rollout_kinds import EXPLANATIONS
from rlt_train.rollouts import Rollout

JOB, OTHER = "job_0123456789abcdef0123", "job_fedcba9876543210fedc"
POLICY, STEP = "5" * 64, 4
ROW = DatasetRow(id="r1", question="1 + 1?", solution="2")


def rollout(text: str, *, reward: float = -0.5) -> Rollout:
    solution = SolutionScore(mean=-0.5, min=-1.0, sum=-1.0, tokens=2)
    score = Score(
        index=0,
        reward=reward,
        r_ss=reward,
        r_kl=0.0,
        format=0.0,
        well_formed=True,
        solution=solution,
        kl=KlScore(mean=0.0, max=0.0, tokens=2),
    )
    tokens = CompletionTokens(
        prompt_token_ids=[1, 2],
        completion_token_ids=[3, 4],
        completion_logprobs=[-0.25, -1.5],
        explanation=(0, 2),
        temperature=1.0,
    )
    return Rollout(row=ROW, text=text, well_formed=True, tokens=tokens, score=score, scored_by="fake")


ROLLOUTS = (rollout("one more"), rollout("two", reward=-0.25))


def attempt_dir(root: Path, number: int) -> Path:
    return root / f"attempt-{number}" / "journal"


def journal(root: Path, number: int, *, job: str = JOB) -> Journal[Rollout]:
    earlier = [attempt_dir(root, each) for each in range(number - 1, 0, -1)]
    return Journal(attempt_dir(root, number), job_id=job, earlier=earlier, kind=EXPLANATIONS)


def recall(root: Path, number: int) -> Recalled[Rollout]:
    return journal(root, number).recall({"r1": ROW}, step=STEP, policy_sha256=POLICY)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Give the file that a first attempt wrote."""
    first = journal(tmp_path, 1)
    first.begin(step=STEP)
    first.write(ROLLOUTS, step=STEP, policy_sha256=POLICY)
    return attempt_dir(tmp_path, 1) / f"step-{STEP}.json"


def test_what_was_written_is_replayed_as_it_was(tmp_path: Path, written: Path) -> None:
    assert [path.name for path in written.parent.iterdir()] == [written.name]
    assert recall(tmp_path, 2) == Recalled(rollouts=ROLLOUTS, faults=())


def flipped_bit(content: bytes) -> bytes:
    """Make a reward of -0.25 one of -0.24, say: still a journal, but not what was written."""
    place = content.rindex(b"-0.25") + 4
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def flipped_bit_in_the_text(content: bytes) -> bytes:
    place = content.index(b"one more")
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def truncated(content: bytes) -> bytes:
    return content[:-7]


def cut_after_its_head(content: bytes) -> bytes:
    return content.partition(b"\n")[0] + b"\n"


def without_its_end_of_line(content: bytes) -> bytes:
    return content[:-1]


def one_rollout_less(content: bytes) -> bytes:
    head, _, body = content.partition(b"\n")
    entry = json.loads(body)
    entry["rollouts"].pop()
    return head + b"\n" + json.dumps(entry).encode() + b"\n"


def something_behind(content: bytes) -> bytes:
    return content + b"{}\n"


def without_a_hash(content: bytes) -> bytes:
    return content.partition(b"\n")[2]


def empty(_: bytes) -> bytes:
    return b""


CHANGED = (
    flipped_bit,
    flipped_bit_in_the_text,
    truncated,
    cut_after_its_head,
    without_its_end_of_line,
    one_rollout_less,
    something_behind,
    without_a_hash,
    empty,
)


@pytest.mark.parametrize("harm", CHANGED, ids=lambda harm: harm.__name__)
def test_a_journal_that_is_not_as_it_was_written_is_not_replayed_and_that_is_said(
    tmp_path: Path, written: Path, harm: Callable[[bytes], bytes]
) -> None:
    content = written.read_bytes()
    assert harm(content) != content
    written.write_bytes(harm(content))
    recalled = recall(tmp_path, 2)
    assert recalled.rollouts is None
    assert len(recalled.faults) == 1
    assert "attempt-1" in recalled.faults[0]


def with_its_hash(content: bytes, old: str, new: str) -> bytes:
    body = content.partition(b"\n")[2].replace(old.encode(), new.encode())
    return json.dumps({"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n" + body


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (JOB, OTHER, "of step 4 of job_fedc"),
        ('"step":4', '"step":5', "of step 5"),
        (POLICY, "6" * 64, "of other weights"),
        ('"row_id":"r1"', '"row_id":"r2"', "not in the dataset"),
        ('"scored_by"', '"judged_by"', "another version"),
    ],
    ids=["of another job", "of another step", "of another policy", "of other questions", "of another version"],
)
def test_a_whole_journal_that_is_foreign_is_not_replayed_and_that_is_said(
    tmp_path: Path, written: Path, old: str, new: str, fault: str
) -> None:
    written.write_bytes(with_its_hash(written.read_bytes(), old, new))
    recalled = recall(tmp_path, 2)
    assert recalled.rollouts is None
    assert len(recalled.faults) == 1
    assert fault in recalled.faults[0]


def test_a_journal_that_another_job_wrote_in_this_ones_place_is_not_replayed(tmp_path: Path) -> None:
    journal(tmp_path, 1, job=OTHER).write(ROLLOUTS, step=STEP, policy_sha256=POLICY)
    assert recall(tmp_path, 2).rollouts is None


def test_a_link_is_not_followed(tmp_path: Path, written: Path) -> None:
    written.symlink_to(written.rename(tmp_path / "elsewhere"))
    recalled = recall(tmp_path, 2)
    assert (recalled.rollouts, recalled.faults) == (None, ("that of attempt-1 is no file",))


def test_a_step_that_was_begun_and_not_written_is_known_as_such(tmp_path: Path) -> None:
    journal(tmp_path, 1).begin(step=STEP)
    recalled = recall(tmp_path, 2)
    assert (recalled.rollouts, recalled.faults) == (None, ("attempt-1 ended before it had written it",))


def test_a_step_that_no_attempt_has_begun_is_no_fault(tmp_path: Path, written: Path) -> None:
    assert written.is_file()
    again = journal(tmp_path, 2).recall({"r1": ROW}, step=STEP + 1, policy_sha256=POLICY)
    assert again == Recalled(rollouts=None, faults=())


def test_an_older_attempts_journal_stands_in_for_a_newer_one_that_is_spoilt(tmp_path: Path, written: Path) -> None:
    newer = attempt_dir(tmp_path, 2) / written.name
    newer.parent.mkdir(parents=True)
    newer.write_bytes(truncated(written.read_bytes()))
    recalled = recall(tmp_path, 3)
    assert (recalled.rollouts, recalled.faults) == (ROLLOUTS, ("that of attempt-2 is not as it was written",))


def test_entries_that_no_resume_will_ask_for_go(tmp_path: Path, written: Path) -> None:
    first = journal(tmp_path, 1)
    first.write(ROLLOUTS, step=STEP + 1, policy_sha256=POLICY)
    first.begin(step=STEP + 2)
    first.forget(before=STEP + 1)
    names = sorted(path.name for path in written.parent.iterdir())
    assert names == [f"step-{STEP + 1}.json", f"step-{STEP + 2}.begun"]
