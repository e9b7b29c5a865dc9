"""Own whether a candidate is shown to be better than what serves: by stored rows, of one student and one format."""

from dataclasses import dataclass

from rlt_core.comparison import difference, paired, summarise
from rlt_core.errors import EvaluationRequiredError, NotBetterError
from rlt_core.schemas.teachers import AliasPut, Difference, Evaluation, EvaluationRow
from rlt_service.control.versions import resolve_version
from rlt_service.store.registry import Registry, ResolvedVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """An open gate: what opened it, and the reason for the history."""

    evaluation: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Opens for a version that a stored evaluation shows to be better; every figure is computed anew from its rows."""

    registry: Registry
    engine: str
    """What serves here: rewards of the fake engine open nothing for a real one."""

    def check(self, request: AliasPut, *, after: ResolvedVersion) -> Passed:
        """Raise EvaluationRequiredError or NotBetterError, NotFoundError for the evaluation, unless it is better."""
        before = request.expected
        if before is None:
            raise EvaluationRequiredError(
                "a new alias has no version to be better than: leave the gate at none", param="/gate"
            )
        student = resolve_version(self.registry, "student", request.student, param="/student")
        evaluation = self._evaluation(request, before=before, after=after, student=student)
        served = self.registry.get_version(before)
        _check_subject(evaluation, before=before, after=after, student=student, formats={served.format, after.format})
        self._check_engine(evaluation)
        found = self._difference(evaluation)
        return Passed(evaluation=evaluation.id, reason=f"better than {before}: reward {_interval(found)}")

    def _evaluation(
        self, request: AliasPut, *, before: str, after: ResolvedVersion, student: ResolvedVersion
    ) -> Evaluation:
        """Read the evaluation that was named, else the newest of the two versions, that student's before others'."""
        if request.evaluation is not None:
            return self.registry.get_evaluation(request.evaluation)
        for judge in (student.version, None):
            found = self.registry.latest_evaluation(before=before, after=after.version, student=judge)
            if found is not None:
                return found
        raise EvaluationRequiredError(
            f"no stored evaluation compares {before} with {after.version}: an rl job with a gate split makes one, and "
            "a shadow does",
            param="/evaluation",
        )

    def _check_engine(self, evaluation: Evaluation) -> None:
        """Raise EvaluationRequiredError for rewards that no model gave."""
        if evaluation.engine == "fake" != self.engine:
            raise EvaluationRequiredError(
                f"{evaluation.id} holds rewards of the fake engine, which reads nothing: compare on {self.engine}",
                param="/evaluation",
            )

    def _difference(self, evaluation: Evaluation) -> Difference:
        """Compare anew by the stored rows; raises EvaluationRequiredError, NotBetterError."""
        try:
            before, after = paired(
                self.registry.all_evaluation_rows(evaluation.id), before=evaluation.before, after=evaluation.after
            )
        except ValueError as error:
            raise EvaluationRequiredError(
                f"the rows of {evaluation.id} show nothing: {error}", param="/evaluation"
            ) from error
        found = difference(before, after, measure="reward")
        if not found.ci_low > 0.0:
            raise NotBetterError(
                f"{evaluation.after} is not shown to be better than {evaluation.before}: reward {_interval(found)} "
                f"({evaluation.id})",
                param="/evaluation",
            )
        _check_closed(evaluation, before=before, after=after)
        return found


def _check_subject(
    evaluation: Evaluation, *, before: str, after: ResolvedVersion, student: ResolvedVersion, formats: set[str]
) -> None:
    """Raise EvaluationRequiredError unless it compares these two, by this student, in the one format of all."""
    if (evaluation.before, evaluation.after) != (before, after.version):
        raise EvaluationRequiredError(
            f"{evaluation.id} compares {evaluation.before} with {evaluation.after}, wanted is {before} with "
            f"{after.version}",
            param="/evaluation",
        )
    if evaluation.student != student.version:
        raise EvaluationRequiredError(
            f"{evaluation.id} was judged by {evaluation.student}, wanted is the judgement of {student.version}: "
            f"compare again, or send student={evaluation.student!r} if that one is meant",
            param="/evaluation",
        )
    if formats != {evaluation.format}:
        raise EvaluationRequiredError(
            f"{evaluation.id} was made in the format {evaluation.format}, {before} and {after.version} are of "
            f"{' and '.join(sorted(formats))}: rewards of different formats cannot be compared",
            param="/evaluation",
        )


def _check_closed(evaluation: Evaluation, *, before: list[EvaluationRow], after: list[EvaluationRow]) -> None:
    """Raise NotBetterError where the candidate closes fewer of its explanations than what serves."""
    was, became = summarise(before)["closed"], summarise(after)["closed"]
    if became < was:
        raise NotBetterError(
            f"{evaluation.after} closes {became:.1%} of its explanations, {evaluation.before} {was:.1%}: a better "
            f"reward does not make up for that ({evaluation.id})",
            param="/evaluation",
        )


def _interval(found: Difference) -> str:
    return f"{found.mean:+.4f}, 95% interval [{found.ci_low:+.4f}, {found.ci_high:+.4f}], n = {found.n}"
