"""The loop itself, as any client of the service could run it: upload, warm up, reinforce, gate, swap, measure."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rlt_client import Client
from rlt_client.demo.measure import Measurement
from rlt_client.demo.plan import DemoPlan
from rlt_client.demo.questions import Question, generate_questions
from rlt_client.demo.show import Screen
from rlt_client.demo.table import DemoRow
from rlt_client.demo.traffic import Answers, Traffic
from rlt_core.schemas.base import Role
from rlt_core.schemas.explain import ExplainResponse
from rlt_core.schemas.jobs import Job, PromotionResult
from rlt_core.schemas.score import ExplanationInput, RewardConfig

TRAFFIC_PERIOD_S = 10.0


class DemoError(RuntimeError):
    """A step of the demonstration failed; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the demonstration came to."""

    rows: list[DemoRow]
    promotion: PromotionResult
    evaluation: str | None
    answers: Answers
    parts_s: dict[str, float]
    rl_steps: int
    engine: str


@dataclass(slots=True, kw_only=True)
class _Versions:
    base: str = ""
    student: str = ""
    warmup: str = ""
    trained: str = ""


class Demonstration:
    """One run of the loop against one server."""

    def __init__(self, client: Client, *, plan: DemoPlan, screen: Screen, poll_s: float = 1.0) -> None:
        """Use `client`'s server with the sizes of `plan`; look at its jobs every `poll_s` seconds."""
        self._client = client
        self._poll_s = poll_s
        self._plan = plan
        self._screen = screen
        self._versions = _Versions()
        self._parts_s: dict[str, float] = {}
        self._began_s = time.monotonic()
        self._rl_steps = 0
        trained_on = plan.train_questions + plan.gate_questions
        self.training_questions = generate_questions(count=trained_on, seed=plan.seed, id_prefix="train")
        self.report_questions = _unseen(self.training_questions, count=plan.report_questions, seed=plan.seed + 1)

    def run(self) -> Outcome:
        """Run every part in order and measure at the end."""
        capabilities = self._client.capabilities()
        engine = capabilities.engine
        if engine is None:
            raise DemoError("this server has no engine: the demonstration needs the roles teacher, student and control")
        self._versions.base = next(name for name in capabilities.models if name.endswith("@0"))
        self._screen.say(
            f"engine {engine.name} {engine.version}, {engine.base_model}, {engine.dtype} on {engine.device}"
        )
        dataset = self._upload()
        before = self._first_look()
        self._versions.student = self._warm_up(role="student", dataset=dataset)
        self._versions.warmup = self._warm_up(role="teacher", dataset=dataset)
        job, answers = self._reinforce(dataset)
        promotion, evaluation = self._gate(job)
        if promotion.outcome != "promoted":
            answers = self._swap_on_own_alias()
        self._compare_one(before)
        rows = self._measure()
        return Outcome(
            rows=rows,
            promotion=promotion,
            evaluation=evaluation,
            answers=answers,
            parts_s=self._parts_s,
            rl_steps=self._rl_steps,
            engine=f"{engine.name} {engine.version}",
        )

    @contextmanager
    def _part(self, name: str, *, title: str) -> Generator[None]:
        self._screen.title(title)
        started = time.monotonic()
        yield
        self._parts_s[name] = time.monotonic() - started

    def _upload(self) -> str:
        with self._part("upload", title="1. Questions: generated sums in words, uploaded as a dataset"):
            sample = self.training_questions[0]
            rows = [question.to_row() for question in self.training_questions]
            dataset = self._client.datasets.create(rows, name="demo")
            self._screen.say(f"  {dataset.rows} rows as {dataset.id}; one of them:")
            self._screen.say(
                f"  question: {sample.question}\n  solution: {sample.solution}\n  trace:    {sample.trace}"
            )
        return dataset.id

    def _first_look(self) -> ExplainResponse:
        with self._part("first look", title="2. The untrained teacher explains a held-out question"):
            answer = self._explain(self._versions.base)
            self._screen.say(
                f"  question: {self.report_questions[0].question}\n  solution: {self.report_questions[0].solution}"
            )
            self._screen.say(f"  {answer.teacher.version}: {answer.explanations[0].text.strip()}")
        return answer

    def _warm_up(self, *, role: Role, dataset: str) -> str:
        number = 3 if role == "student" else 4
        with self._part(f"warm-up {role}", title=f"{number}. Warm-up of the {role} on the format (supervised)"):
            job = self._watch(self._client.train(self._plan.warmup_spec(role=role, dataset=dataset)))
            version = (job.result.student if role == "student" else job.result.teacher) if job.result else None
            if version is None:
                raise DemoError(f"the warm-up of the {role} made no version: {job.result}")
            self._point(role=role, alias="default", version=version)
        return version

    def _reinforce(self, dataset: str) -> tuple[Job, Answers]:
        title = "5. Reinforcement: the student's log-probs reward the teacher, while the server goes on answering"
        spec = self._plan.rl_spec(
            dataset=dataset,
            teacher=self._versions.warmup,
            student=self._versions.student,
            steps=self._plan.affordable_rl_steps(
                elapsed_s=time.monotonic() - self._began_s,
                warmup_step_s=self._parts_s["warm-up teacher"] / self._plan.teacher_steps,
            ),
        )
        self._rl_steps = int(spec["steps"])
        with self._part("rl", title=title):
            with self._traffic(alias="default") as traffic:
                job = self._watch(self._client.train(spec))
                traffic.ask()
            if job.result is None or job.result.teacher is None:
                raise DemoError(f"the reinforcement made no version: {job.result}")
            self._versions.trained = job.result.teacher
            self._say_traffic(traffic.answers)
        return job, traffic.answers

    def _gate(self, job: Job) -> tuple[PromotionResult, str | None]:
        self._screen.title("6. The gate: is the new teacher better on questions that no training saw?")
        if job.result is None or job.result.promotion is None:
            raise DemoError(f"the job says nothing of its promotion: {job.result}")
        promotion = job.result.promotion
        if job.result.evaluation is not None:
            gain = self._client.evaluations.get(job.result.evaluation).difference
            interval = f"{gain.mean:+.3f}, 95% interval [{gain.ci_low:+.3f}, {gain.ci_high:+.3f}], n = {gain.n}"
            self._screen.say(f"  reward on the gate's questions, new minus served: {interval}")
        self._screen.say(f"  {promotion.outcome}: {promotion.reason}")
        return promotion, job.result.evaluation

    def _swap_on_own_alias(self) -> Answers:
        with self._part("swap", title="   The swap, shown on an alias of its own: demo"):
            self._point(role="teacher", alias="demo", version=self._versions.warmup)
            with self._traffic(alias="demo") as traffic:
                traffic.ask()
                self._point(role="teacher", alias="demo", version=self._versions.trained)
                traffic.ask()
            self._say_traffic(traffic.answers)
        return traffic.answers

    def _compare_one(self, before: ExplainResponse) -> None:
        with self._part("one question", title="7. The same question before and after, as the student reads it"):
            after = {name: self._explain(version) for name, version in self._trained().items()}
            answers = {"base": before, **after}
            question = self.report_questions[0]
            response = self._client.score(
                question=question.question,
                solution=question.solution,
                explanations=[_as_input(answer) for answer in answers.values()],
                student=self._versions.student,
                include=["tokens"],
                reward=RewardConfig.model_validate(self._plan.reward),
            )
            for (name, answer), score in zip(answers.items(), response.scores, strict=True):
                self._screen.tokens(answer.explanations[0], score, title=name)

    def _measure(self) -> list[DemoRow]:
        title = f"8. Measured on {len(self.report_questions)} held-out questions"
        with self._part("measure", title=title):
            measurement = Measurement(
                self._client, plan=self._plan, student=self._versions.student, questions=self.report_questions
            )
            rows: list[DemoRow] = []
            for model, version in {"base": self._versions.base, **self._trained()}.items():
                with self._screen.counting(f"{model} ({version})", total=len(self.report_questions)) as on_done:
                    rows += measurement.rows(model=model, version=version, on_done=on_done)
        return rows

    def _trained(self) -> dict[str, str]:
        return {"warm-up": self._versions.warmup, "RL": self._versions.trained}

    def _explain(self, version: str) -> ExplainResponse:
        question = self.report_questions[0]
        return self._client.explain(
            question=question.question,
            solution=question.solution,
            teacher=version,
            temperature=self._plan.temperature,
            max_tokens=self._plan.max_tokens,
            seed=0,
            include=["tokens"],
        )

    def _watch(self, job: Job) -> Job:
        self._screen.say(f"  POST /v1/train -> {job.id}")
        ended = self._client.jobs.wait(job.id, on_event=self._screen.job_event, poll_s=self._poll_s)
        self._screen.job_end(ended)
        if ended.status != "succeeded":
            tail = ended.error.log_tail if ended.error else ""
            raise DemoError(f"job {job.id} ended as {ended.status}: {ended.error and ended.error.message}\n{tail}")
        return ended

    def _point(self, *, role: Role, alias: str, version: str) -> None:
        known = {(entry.role, entry.alias): entry.version for entry in self._client.aliases.list().data}
        self._client.aliases.put(role, alias, version=version, expected=known.get((role, alias)), reason="demo")
        self._screen.say(f"  alias {role}/{alias} -> {version}")

    def _traffic(self, *, alias: str) -> Traffic:
        question = self.report_questions[-1]
        return Traffic(
            self._client,
            alias=alias,
            question=question.question,
            solution=question.solution,
            period_s=TRAFFIC_PERIOD_S,
        )

    def _say_traffic(self, answers: Answers) -> None:
        self._screen.say(
            f"  meanwhile {answers.requests} requests to the served teacher: {answers.failed} failed; "
            f"answered by {' -> '.join(answers.versions)} {answers.first_failure}"
        )


def _as_input(answer: ExplainResponse) -> ExplanationInput:
    explanation = answer.explanations[0]
    return ExplanationInput(text=explanation.text, tokens=explanation.tokens, well_formed=explanation.well_formed)


def _unseen(training: Sequence[Question], *, count: int, seed: int) -> list[Question]:
    seen = {question.question for question in training}
    fresh = generate_questions(count=2 * count + 50, seed=seed, id_prefix="report")
    return [question for question in fresh if question.question not in seen][:count]
