"""Own the dry run of an evaluate: what its submission checks, a trial of a few questions, what they all will take."""

import asyncio
from dataclasses import dataclass

from rlt_core.schemas.dry_run import Estimate, Estimates, Rehearsal
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import DryRun
from rlt_core.splits import HELD_OUT
from rlt_service.control.estimates import per_s, seconds, total
from rlt_service.control.evaluating import CheckedEvaluate, EvaluateChecks
from rlt_service.control.rehearsal import REHEARSED_ROWS, REHEARSED_TOKENS, Players, rehearse

NONE = Estimate(value=0.0, basis="an evaluate trains nothing")
UNREAD = "nothing was tried: how much the student reads is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateDryRun:
    """Says what an evaluate would be and take; nothing is stored."""

    checks: EvaluateChecks
    players: Players | None
    """None where neither this process nor another is known to play teacher and student."""

    async def run(self, spec: EvaluateSpec) -> DryRun:
        """Check, try the first of the models, estimate; raises what `EvaluateChecks.check` raises."""
        checked = await asyncio.to_thread(self.checks.check, spec, tried=REHEARSED_ROWS)
        first = checked.models[0].version
        student = checked.student.version if checked.student is not None else first
        rehearsed = await rehearse(spec, checked.first, players=self.players, teacher=first, student=student)
        estimates = estimate(checked, shown=rehearsed.shown)
        return DryRun(
            spec=spec,
            dataset_rows=checked.rows,
            train_rows=checked.rows,
            held_out_rows=dict.fromkeys(HELD_OUT, 0),
            teacher=first if spec.role == "teacher" else None,
            student=student,
            longest_prompt_tokens=checked.longest_prompt_tokens,
            rehearsal=rehearsed.shown,
            estimates=estimates,
            warnings=_warnings(spec, estimates),
        )


def estimate(checked: CheckedEvaluate, *, shown: Rehearsal) -> Estimates:
    """Estimate tokens and seconds; each figure says what it is made of. Pure."""
    spec = checked.spec
    asked = len(checked.models) * checked.rows
    told = f"{len(checked.models)} models x {checked.rows} questions"
    completion, basis = _completion(spec, shown)
    generated = asked * spec.samples * completion
    scored = _scored(spec, shown, asked=asked, told=told, completion=completion)
    generate_s = seconds(generated, per_s=per_s(shown.generated_tokens, shown.generate_s), what="sampled")
    fresh = shown.scored_tokens - shown.cached_tokens
    score_s = seconds(scored.value, per_s=per_s(fresh, shown.score_s), what="read by the student")
    return Estimates(
        generated_tokens=Estimate(value=generated, basis=f"{told} x {spec.samples} samples x {basis}"),
        scored_tokens=scored,
        trained_tokens=NONE,
        generate_s=generate_s,
        score_s=score_s,
        train_s=NONE,
        total_s=total(generate_s, score_s, NONE),
        memory_bytes=Estimate(value=None, basis="it holds no model"),
        disk_bytes=Estimate(value=None, basis="answers are rows of the database, which are not weighed before"),
    )


def _completion(spec: EvaluateSpec, shown: Rehearsal) -> tuple[float, str]:
    """Give the mean length of an answer: of those tried, unless the trial itself cut one off."""
    lengths = [row.explanation_tokens for row in shown.rows if row.explanation_tokens is not None]
    cut = spec.max_tokens > REHEARSED_TOKENS and max(lengths, default=0) >= REHEARSED_TOKENS
    if not lengths or cut:
        why = f": the trial cut some off after {REHEARSED_TOKENS}" if cut else ""
        return float(spec.max_tokens), f"max_tokens = {spec.max_tokens}, the most that it can be{why}"
    mean = sum(lengths) / len(lengths)
    return mean, f"{mean:.1f} tokens, the mean of {len(lengths)} that were sampled"


def _scored(spec: EvaluateSpec, shown: Rehearsal, *, asked: int, told: str, completion: float) -> Estimate:
    if spec.role == "student":
        return Estimate(value=0.0, basis="nothing is scored: answers are judged")
    if not shown.rows:
        return Estimate(value=None, basis=UNREAD)
    # Each tried row was read twice, with its explanation and, for the baseline, without.
    beside = max(shown.scored_tokens - shown.generated_tokens, 0) / (2 * len(shown.rows))
    return Estimate(
        value=asked * (spec.samples * (beside + completion) + beside),
        basis=f"{told} x ({spec.samples} samples x ({beside:.1f} of question and solution + {completion:.1f} of the "
        "explanation), and each question once without)",
    )


def _warnings(spec: EvaluateSpec, estimates: Estimates) -> list[str]:
    limit_s, takes_s = spec.max_runtime_s, estimates.total_s.value
    if limit_s is None or takes_s is None or takes_s <= limit_s:
        return []
    return [f"max_runtime_s = {limit_s:g} is less than the {takes_s:.0f} s"]
