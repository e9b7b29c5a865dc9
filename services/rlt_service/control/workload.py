"""Own what a spec comes to in tokens: steps, completions, passes; from counted rows and from tried ones. Pure."""

import math
from dataclasses import dataclass

from rlt_core.batching import MICRO_BATCH_TOKENS, epoch_steps, micro_batch_rows, passed_tokens
from rlt_core.schemas.dry_run import Lengths, Rehearsal
from rlt_core.schemas.jobs import PolicySpec, RlSpec, RlvrSpec, SupervisedSpec
from rlt_core.schemas.trainer import KEPT_CHECKPOINTS
from rlt_core.schemas.training import GrpoSpec
from rlt_core.traces import NOUNS
from rlt_service.control.estimates import Work
from rlt_service.store.rollouts import KEPT

UNKNOWN = "no row could be counted: this process has no tokenizer, and none was tried elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The rows in tokens, wherever that is known from."""

    row: float | None
    """Mean prompt of the policy (rl, rlvr) or whole sequence (warm-up)."""
    longest: int
    reader: float | None
    """Mean of what the student reads beside an explanation (rl)."""
    completion: float
    """Mean explanation (rl) or solution with its thought (rlvr)."""
    completion_basis: str
    fitting: float
    """Share of the rows that are trained on."""


def counted(spec: SupervisedSpec | PolicySpec, *, lengths: Lengths | None, rehearsal: Rehearsal) -> Counted:
    """Take means from the tokenizer's count; of completions, which nobody can count before, from the rehearsal.

    A process without a tokenizer takes all of them from the rehearsal.
    """
    longest = spec.max_tokens
    tried = len(rehearsal.rows)
    completion, basis = float(spec.max_tokens), f"max_tokens = {spec.max_tokens}, the most that it can be"
    if rehearsal.generated_tokens:
        completion = rehearsal.generated_tokens / tried
        basis = f"{completion:.1f} tokens, the mean of {tried} that were sampled"
    row = reader = None
    fitting = 1.0
    if lengths is not None:
        row, longest, reader = lengths.mean_tokens, lengths.longest_tokens, lengths.mean_reader_tokens
        fitting = 1.0 - lengths.too_long / max(lengths.looked_at, 1)
    elif tried:
        row, reader = _tried_means(spec, rehearsal)
        longest = math.ceil(row) if isinstance(spec, GrpoSpec) else longest
    return Counted(
        row=row,
        longest=min(longest, spec.max_tokens) if not isinstance(spec, GrpoSpec) else longest,
        reader=reader,
        completion=completion,
        completion_basis=basis,
        fitting=fitting,
    )


def _tried_means(spec: SupervisedSpec | PolicySpec, rehearsal: Rehearsal) -> tuple[float, float | None]:
    """Take means from what other processes, which have the tokenizer, counted of the rows that were tried."""
    tried = len(rehearsal.rows)
    if not isinstance(spec, GrpoSpec):
        return rehearsal.scored_tokens / tried, None
    if isinstance(spec, RlvrSpec):
        return rehearsal.prompt_tokens / tried, None
    # Each row was read twice, with its explanation and, for the baseline, without.
    beside = max(rehearsal.scored_tokens - rehearsal.generated_tokens, 0)
    return rehearsal.prompt_tokens / tried, beside / (2 * tried)


def work_of(
    spec: SupervisedSpec | PolicySpec,
    rows: Counted,
    *,
    train_rows: int,
    gate_rows: int,
    compared: int,
    select_rows: int = 0,
) -> Work:
    """Count what a job does; `compared` versions answer the gate's questions."""
    if isinstance(spec, GrpoSpec):
        looks = math.ceil(spec.steps / spec.eval_every) if spec.eval_every else 0
        return _policy(spec, rows, gate_answers=gate_rows * compared, select_answers=select_rows * looks)
    return _warmup(spec, rows, train_rows=train_rows, select_rows=select_rows)


def _policy(spec: PolicySpec, rows: Counted, *, gate_answers: int, select_answers: int) -> Work:
    group, completions = spec.samples_per_question, spec.questions_per_step * spec.samples_per_question
    judged = spec.steps * completions + select_answers
    answers = judged + gate_answers
    per_step = None if rows.row is None else spec.questions_per_step * rows.row + completions * rows.completion
    each = passed_tokens(longest_prompt=rows.longest, max_tokens=spec.max_tokens, samples=group, shares=True)
    pass_rows = micro_batch_rows(max(completions // spec.parallel.processes, 1), tokens_per_row=each)
    whole = spec.lora is None
    saves = _saves(spec.steps, spec.save_every)
    kept_steps = spec.steps if spec.save_every == 0 else min(spec.steps, 2 * spec.save_every)
    told = f"{spec.steps} steps x {completions} completions"
    told += f" + {select_answers} of measurements" if select_answers else ""
    scored, scored_basis = _scored(spec, rows, judged=judged, gate_answers=gate_answers, told=told)
    told += f" + {gate_answers} of the gate" if isinstance(spec, RlSpec) else ""
    return Work(
        generated=answers * rows.completion,
        scored=scored,
        trained=None if per_step is None else spec.steps * per_step,
        generated_basis=f"({told}) x {rows.completion_basis}",
        scored_basis=scored_basis,
        trained_basis=UNKNOWN
        if rows.row is None
        else f"{spec.steps} steps x ({spec.questions_per_step} prompts of {rows.row:.1f} + {completions} completions "
        f"of {rows.completion:.1f}); a prompt counts once for its completions",
        passes=2 + whole + (spec.beta > 0.0) + spec.gradient_checkpointing,
        pass_tokens=pass_rows * each,
        logit_tokens=pass_rows * spec.max_tokens,
        attended=min(rows.longest + min(group, pass_rows) * spec.max_tokens, MICRO_BATCH_TOKENS),
        row_tokens=rows.longest + spec.max_tokens,
        row_logit_tokens=spec.max_tokens,
        checkpoints=min(saves, KEPT_CHECKPOINTS + 1),
        adapters=2 + KEPT["full" if whole else "adapter"] + 1,
        reference=spec.beta > 0.0 or not whole,
        moves_reference=spec.reference_every > 0,
        served_beside=whole,
        keeps_best=spec.eval_every > 0,
        recomputes=spec.gradient_checkpointing,
        journal_completions=kept_steps * completions,
    )


def _scored(spec: PolicySpec, rows: Counted, *, judged: int, gate_answers: int, told: str) -> tuple[float | None, str]:
    """Count what students read to judge a policy's completions; a rule reads nothing."""
    if isinstance(spec, RlvrSpec):
        return 0.0, f"nothing is scored: answers are judged by the verdict {spec.verdict}"
    if rows.reader is None:
        return None, UNKNOWN
    students = 1 if isinstance(spec.student, str) else len(spec.student)
    readings = students * judged + gate_answers  # at the gate the first student judges alone
    read = f"({told}) x {students} students" if students > 1 else told
    return readings * (rows.reader + rows.completion), (
        f"({read} + {gate_answers} of the gate) x ({rows.reader:.1f} of question and solution + {rows.completion:.1f} "
        "of the explanation)"
    )


def _warmup(spec: SupervisedSpec, rows: Counted, *, train_rows: int, select_rows: int) -> Work:
    fitting = max(1, round(rows.fitting * train_rows))
    batch = min(spec.batch_size, fitting)
    steps = epoch_steps(rows=fitting, batch=batch, epochs=spec.epochs, max_steps=spec.max_steps)
    measured = ""
    if spec.eval_every:
        measured = f"; {math.ceil(steps / spec.eval_every)} measurements of {select_rows} rows left out"
    pass_rows = micro_batch_rows(max(batch // spec.parallel.processes, 1), tokens_per_row=rows.longest)
    return Work(
        generated=0.0,
        scored=0.0,
        trained=None if rows.row is None else steps * batch * rows.row,
        generated_basis=f"a {NOUNS[spec.kind]} samples nothing",
        scored_basis=f"a {NOUNS[spec.kind]} scores nothing",
        trained_basis=UNKNOWN
        if rows.row is None
        else f"{steps} steps x {batch} rows of {rows.row:.1f} tokens, the mean of those that fit{measured}",
        passes=(3 if spec.lora is None else 2) + spec.gradient_checkpointing,
        pass_tokens=pass_rows * rows.longest,
        logit_tokens=pass_rows * rows.longest,
        attended=rows.longest,
        row_tokens=rows.longest,
        row_logit_tokens=rows.longest,
        checkpoints=min(_saves(steps, spec.save_every), KEPT_CHECKPOINTS + 1),
        adapters=2,
        reference=False,
        keeps_best=spec.eval_every > 0,
        recomputes=spec.gradient_checkpointing,
        journal_completions=0,
        example_tokens=fitting * (rows.row or rows.longest),
    )


def _saves(steps: int, save_every: int) -> int:
    return 1 if save_every == 0 else math.ceil(steps / save_every)
