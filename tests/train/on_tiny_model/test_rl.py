import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlt_core.artifacts import adapter_sha256
from rlt_core.errors import ConfigurationError, ScoringError
from rlt_core.schemas.explain import ExplainResponse
from rlt_core.schemas.score import ScoreResponse
from rlt_core.schemas.teachers import EvaluationRow
from rlt_core.schemas.trainer import EvaluationEvent, ProgressEvent, SampleEvent
from rlt_train.errors import InvalidTrainingDataError, RolloutMismatchError, RolloutsDroppedError, StopRequested
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.rl import run_rl
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

JOB_ID = "job_0123456789abcdef0123"
Services = Callable[[Any], Any]


def progress(world: Any, job: Any) -> list[ProgressEvent]:
    return [event for event in world.events(job) if isinstance(event, ProgressEvent)]


def test_policies_are_published_in_order_and_each_step_samples_from_the_one_before(
    world: Any, fake_services: Services
) -> None:
    job = world.rl({"steps": 3})
    services = fake_services(job)
    result = run_rl(world.context(job, services))
    assert [step for step, _ in services.published] == [0, 1, 2, 3]
    asked = [request.teacher for request in services.explained]
    assert asked == [f"{JOB_ID}.1@{step}" for step in (0, 0, 1, 1, 2, 2)]
    for step, sha256 in services.published:
        assert adapter_sha256(Path(job.attempt_dir) / "rollouts" / str(step)) == sha256
    assert len({sha256 for _, sha256 in services.published}) == 4
    assert result.sha256 == services.published[-1][1]
    assert [event.step for event in progress(world, job)] == [1, 2, 3]
    assert [event.step for event in world.events(job) if isinstance(event, SampleEvent)] == [0, 1, 2]


def test_trl_does_not_bring_vllm_along() -> None:
    assert not hasattr(sys.modules["trl.generation.vllm_generation"], "LLM")


def test_policy_moves_towards_what_is_rewarded(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 10, "samples_per_question": 8, "learning_rate": 0.03, "beta": 0.0})
    services = fake_services(job)
    run_rl(world.context(job, services))
    rewards = [event.metrics["reward"] for event in progress(world, job)]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1


def test_loss_sees_exactly_the_ids_and_logprobs_of_explain(world: Any, fake_services: Services, codec: Any) -> None:
    seen: list[tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]] = []

    class Watching(RltGrpoTrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
            for row in range(len(inputs["prompt_ids"])):
                prompt = inputs["prompt_ids"][row][inputs["prompt_mask"][row].bool()]
                kept = inputs["completion_mask"][row].bool()
                completion = inputs["completion_ids"][row][kept]
                logprobs = inputs["old_per_token_logps"][row][kept]
                seen.append((tuple(prompt.tolist()), tuple(completion.tolist()), tuple(logprobs.tolist())))
            return super()._compute_loss(model, inputs)

    job = world.rl({"steps": 1})
    services = fake_services(job)
    run_rl(world.context(job, services), trainer_class=Watching)
    sent = [
        (tuple(tokens.prompt_token_ids), tuple(tokens.completion_token_ids))
        for answer in services.answers
        for tokens in (item.tokens for item in answer.explanations)
    ]
    assert [(prompt, completion) for prompt, completion, _ in seen] == sent
    told = [item.tokens.completion_logprobs for answer in services.answers for item in answer.explanations]
    assert all(mine == pytest.approx(theirs) for (_, _, mine), theirs in zip(seen, told, strict=True))
    for request in services.explained:
        prompt = codec.teacher_sequence(question=request.question, solution=request.solution).token_ids
        assert any(prompt == mine for mine, _, _ in seen)


@pytest.mark.parametrize("shared", [True, False])
def test_trainer_and_sampler_agree_on_every_logprob(world: Any, fake_services: Services, shared: bool) -> None:
    class Chosen(RltGrpoTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._shares = shared

    job = world.rl({"steps": 2, "temperature": 0.7, "learning_rate": 0.05})
    run_rl(world.context(job, fake_services(job)), trainer_class=Chosen)
    gaps = [event.metrics["logprob_gap_max"] for event in progress(world, job)]
    assert max(gaps) < 1e-4
    assert min(gaps) > 0.0  # the two were really computed apart


def test_shared_beginnings_change_no_gradient(world: Any, fake_services: Services) -> None:
    weights: list[dict[str, torch.Tensor]] = []
    for shared in (True, False):

        class Chosen(RltGrpoTrainer):
            def __init__(self, *args: Any, shares: bool = shared, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self._shares = shares

        job = world.rl({"steps": 1})
        result = run_rl(world.context(job, fake_services(job)), trainer_class=Chosen)
        weights.append(load_file(Path(result.adapter_dir) / "adapter_model.safetensors"))
    ours, plain = weights
    assert all(torch.allclose(ours[name], plain[name], atol=1e-5) for name in ours)


def test_where_weights_lie_in_parts_a_micro_batch_is_one_pass_and_changes_no_gradient(
    world: Any, fake_services: Services
) -> None:
    passes: list[int] = []

    class InParts(RltGrpoTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._in_parts, self._shares = True, False

        def _in_passes(self, *args: Any, **named: Any) -> Any:
            found = super()._in_passes(*args, **named)
            passes.append(len(found))
            return found

    weights: list[dict[str, torch.Tensor]] = []
    for trainer_class in (InParts, RltGrpoTrainer):
        job = world.rl({"steps": 1})
        result = run_rl(world.context(job, fake_services(job)), trainer_class=trainer_class)
        weights.append(load_file(Path(result.adapter_dir) / "adapter_model.safetensors"))
    whole, plain = weights
    assert all(torch.allclose(whole[name], plain[name], atol=1e-5) for name in whole)
    assert set(passes) == {1}  # two questions each


def test_activations_that_are_computed_again_change_no_weight(world: Any, fake_services: Services) -> None:
    asked: list[int] = []

    class Watching(RltGrpoTrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
            asked.append(sum(bool(getattr(part, "gradient_checkpointing", False)) for part in self.policy.modules()))
            return super()._compute_loss(model, inputs)

    weights: list[dict[str, torch.Tensor]] = []
    for again in (False, True):
        job = world.rl({"steps": 2, "gradient_checkpointing": again})
        result = run_rl(world.context(job, fake_services(job)), trainer_class=Watching)
        weights.append(load_file(Path(result.adapter_dir) / "adapter_model.safetensors"))
    kept, recomputed = weights
    assert all(torch.allclose(kept[name], recomputed[name], atol=1e-6) for name in kept)
    assert asked[0] == 0
    assert asked[-1] > 0


def test_reference_is_the_warm_up_and_not_the_base(world: Any, fake_services: Services) -> None:
    warm = run_warmup(world.context(world.warmup(learning_rate=0.1, max_steps=8, epochs=10.0)))
    kls: list[float] = []

    class Watching(RltGrpoTrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
            references = inputs["ref_per_token_logps"]
            mask = inputs["completion_mask"].bool()
            kls.append((references - inputs["old_per_token_logps"])[mask].abs().max().item())
            return super()._compute_loss(model, inputs)

    job = world.rl({"steps": 2, "beta": 0.04, "learning_rate": 0.05}, start_adapter_dir=warm.adapter_dir)
    run_rl(world.context(job, fake_services(job)), trainer_class=Watching)
    # Before the first optimizer step policy and reference are the same: only the warm-up can be that close.
    assert kls[0] < 1e-4
    assert kls[1] > 1e-3
    first, second = (event.metrics["kl"] for event in progress(world, job))
    assert first == pytest.approx(0.0, abs=1e-6)
    assert second > 1e-6


def test_rollouts_start_from_the_warm_up(world: Any, fake_services: Services) -> None:
    warm = run_warmup(world.context(world.warmup(learning_rate=0.1)))
    job = world.rl({"steps": 1}, start_adapter_dir=warm.adapter_dir)
    run_rl(world.context(job, fake_services(job)))
    start = load_file(Path(job.attempt_dir) / "rollouts" / "0" / "adapter_model.safetensors")
    given = load_file(Path(warm.adapter_dir) / "adapter_model.safetensors")
    assert all(torch.equal(start[name], given[name]) for name in given)


def other_version(answer: ExplainResponse) -> ExplainResponse:
    return answer.model_copy(update={"teacher": answer.teacher.model_copy(update={"version": f"{JOB_ID}.1@7"})})


def other_temperature(answer: ExplainResponse) -> ExplainResponse:
    return with_tokens(answer, temperature=1.0)


def other_prompt(answer: ExplainResponse) -> ExplainResponse:
    return with_tokens(answer, prompt_token_ids=[5, 6])


def missing_logprob(answer: ExplainResponse) -> ExplainResponse:
    tokens = answer.explanations[0].tokens
    assert tokens is not None
    return with_tokens(answer, completion_logprobs=tokens.completion_logprobs[:-1])


def no_tokens(answer: ExplainResponse) -> ExplainResponse:
    first = answer.explanations[0].model_copy(update={"tokens": None})
    return answer.model_copy(update={"explanations": [first, *answer.explanations[1:]]})


def too_few(answer: ExplainResponse) -> ExplainResponse:
    return answer.model_copy(update={"explanations": answer.explanations[:-1]})


def with_tokens(answer: ExplainResponse, **update: Any) -> ExplainResponse:
    first = answer.explanations[0]
    assert first.tokens is not None
    spoiled = first.model_copy(update={"tokens": first.tokens.model_copy(update=update)})
    return answer.model_copy(update={"explanations": [spoiled, *answer.explanations[1:]]})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (other_version, "an explanation's teacher"),
        (other_temperature, "the temperature"),
        (other_prompt, "the prompt's token ids"),
        (missing_logprob, "the number of log-probs"),
        (no_tokens, "without its token ids"),
        (too_few, "the number of explanations"),
    ],
)
def test_explanation_that_is_not_what_was_asked_for_is_an_error(
    world: Any, fake_services: Services, spoil: Callable[[ExplainResponse], ExplainResponse], says: str
) -> None:
    job = world.rl()
    services = fake_services(job)
    services.spoil_explanation = spoil
    with pytest.raises(RolloutMismatchError, match=says):
        run_rl(world.context(job, services))
    assert services.scored == []
    assert progress(world, job) == [] if Path(job.events_path).exists() else True


def other_student(answer: ScoreResponse) -> ScoreResponse:
    return answer.model_copy(update={"student": answer.student.model_copy(update={"version": "other@1"})})


def other_terms(answer: ScoreResponse) -> ScoreResponse:
    return answer.model_copy(update={"terms": ["solution", "format"]})


def other_reward(answer: ScoreResponse) -> ScoreResponse:
    return answer.model_copy(update={"reward": answer.reward.model_copy(update={"kl_mean": 0.5})})


def missing_score(answer: ScoreResponse) -> ScoreResponse:
    return answer.model_copy(update={"scores": answer.scores[:-1]})


def not_a_number(answer: ScoreResponse) -> ScoreResponse:
    spoiled = answer.scores[0].model_copy(update={"reward": float("nan")})
    return answer.model_copy(update={"scores": [spoiled, *answer.scores[1:]]})


@pytest.mark.parametrize("spoil", [other_student, other_terms, other_reward, missing_score, not_a_number])
def test_score_that_is_not_what_was_asked_for_is_an_error(
    world: Any, fake_services: Services, spoil: Callable[[ScoreResponse], ScoreResponse]
) -> None:
    job = world.rl()
    services = fake_services(job)
    services.spoil_score = spoil
    with pytest.raises(RolloutMismatchError):
        run_rl(world.context(job, services))
    assert [step for step, _ in services.published] == [0]


def test_failed_scoring_ends_the_job_and_trains_on_nothing(world: Any, fake_services: Services) -> None:
    def fail(answer: ScoreResponse) -> ScoreResponse:
        raise ScoringError("no log-prob came back")

    job = world.rl()
    services = fake_services(job)
    services.spoil_score = fail
    with pytest.raises(RolloutsDroppedError, match="no log-prob came back"):
        run_rl(world.context(job, services))
    assert [step for step, _ in services.published] == [0]
    assert not (Path(job.attempt_dir) / "adapter").exists()


def test_policy_published_under_another_name_is_an_error(world: Any, fake_services: Services) -> None:
    job = world.rl()
    services = fake_services(job)
    services.job = job.model_copy(update={"attempt": 2})
    with pytest.raises(RolloutMismatchError, match="published as"):
        run_rl(world.context(job, services))


def test_metrics_of_a_step_are_those_of_its_rollouts(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 1})
    services = fake_services(job)
    run_rl(world.context(job, services))
    metrics = progress(world, job)[0].metrics
    ids = [item.tokens.completion_token_ids for answer in services.answers for item in answer.explanations]
    assert metrics["length"] == pytest.approx(sum(map(len, ids)) / len(ids))
    rewards = [sum(token_id < 130 for token_id in row) / len(row) - 1.0 for row in ids]
    assert metrics["reward"] == pytest.approx(sum(rewards) / len(rewards))
    assert metrics["uplift"] == pytest.approx(metrics["reward"] + 2.0)  # the fake's baseline is -2
    assert metrics["closed"] == 1.0
    expected = {"r_ss", "r_kl", "kl", "loss", "grad_norm", "rollout_s", "score_s", "train_s", "publish_s", "entropy"}
    assert expected <= metrics.keys()


def test_baseline_is_asked_for_once_a_question(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 8})
    services = fake_services(job)
    run_rl(world.context(job, services))
    asked = [request.question for request in services.scored if request.baseline]
    assert len(services.scored) == 16
    assert len(asked) == len(set(asked)) == 8


def test_gate_compares_with_what_serves_on_the_same_held_out_questions(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 1, "splits": {"gate": 0.25}}, served_version="tiny@0")
    services = fake_services(job)
    result = run_rl(world.context(job, services))
    event = next(event for event in world.events(job) if isinstance(event, EvaluationEvent))
    rows = [EvaluationRow.model_validate_json(line) for line in Path(event.path).read_text().splitlines()]
    assert [row.version for row in rows] == ["tiny@0", "tiny@0", f"{JOB_ID}.1@1", f"{JOB_ID}.1@1"]
    assert [row.question_id for row in rows[:2]] == [row.question_id for row in rows[2:]]
    gate_requests = [request for request in services.explained if request.n == 1]
    assert [request.seed for request in gate_requests[:2]] == [request.seed for request in gate_requests[2:]]
    trained_on = {request.question for request in services.explained if request.n > 1}
    assert trained_on.isdisjoint({row.question for row in rows})
    assert event.difference is not None
    means = {version: event.metrics[version]["reward"] for version in ("tiny@0", f"{JOB_ID}.1@1")}
    assert event.difference.mean == pytest.approx(means[f"{JOB_ID}.1@1"] - means["tiny@0"])
    assert event.difference.n == 2
    assert result.cost["evaluate_s"] > 0


def test_gate_without_a_served_version_has_no_difference(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 1, "splits": {"gate": 0.25}})
    run_rl(world.context(job, fake_services(job)))
    event = next(event for event in world.events(job) if isinstance(event, EvaluationEvent))
    assert (event.before, event.difference) == (None, None)


def test_checkpoint_names_every_file_with_its_hash(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 2, "save_every": 2})
    run_rl(world.context(job, fake_services(job)))
    folder = Path(job.attempt_dir) / "checkpoints" / "step-2"
    manifest = json.loads((folder / "manifest.json").read_text())
    adapter = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    assert set(manifest["files"]) == adapter | {"state.pt", "trainer_state.json"}
    assert (manifest["step"], manifest["attempt"], manifest["job_id"]) == (2, 1, JOB_ID)
    state = torch.load(folder / "state.pt", weights_only=True)
    assert state["optimizer"]["state"]
    saved = load_file(folder / "adapter" / "adapter_model.safetensors")
    last = load_file(Path(job.attempt_dir) / "rollouts" / "2" / "adapter_model.safetensors")
    assert all(torch.equal(saved[name], last[name]) for name in last)


def test_stop_leaves_a_checkpoint_of_the_last_whole_step(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 5, "save_every": 0})
    services = fake_services(job)
    context = world.context(job, services)

    def stop_in_the_third_step(answer: ScoreResponse) -> ScoreResponse:
        if len(services.published) == 3:
            context.stop.request()
        return answer

    services.spoil_score = stop_in_the_third_step
    with pytest.raises(StopRequested):
        run_rl(context)
    assert [path.name for path in (Path(job.attempt_dir) / "checkpoints").iterdir()] == ["step-2"]
    assert [step for step, _ in services.published] == [0, 1, 2]


def test_too_few_questions_for_a_step_are_refused(world: Any, fake_services: Services) -> None:
    job = world.rl({"questions_per_step": 9})
    with pytest.raises(InvalidTrainingDataError, match="8 questions are left"):
        run_rl(world.context(job, fake_services(job)))


def test_job_of_another_format_is_refused(world: Any) -> None:
    with pytest.raises(ConfigurationError, match="folded"):
        world.context(world.rl(format_id="stratos@1+folded")).check_format()


def test_result_adapter_loads_and_names_no_path(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 1})
    result = run_rl(world.context(job, fake_services(job)))
    config = (Path(result.adapter_dir) / "adapter_config.json").read_text()
    assert str(world.root) not in config
    assert '"base_model_name_or_path": "tiny-base"' in config
    names = load_file(Path(result.adapter_dir) / "adapter_model.safetensors")
    assert not any(".ref." in name or ".default." in name for name in names)
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(world.base_dir), result.adapter_dir)
