"""Golden figures of a dry run, worked out by hand."""

from dataclasses import replace

import pytest

from rlt_core.model_shape import ModelShape, shape_of
from rlt_core.schemas.dry_run import Lengths, Rehearsal, RehearsedRow
from rlt_core.schemas.jobs import RlSpec, WarmupSpec
from rlt_core.schemas.training import LINEAR_TARGETS
from rlt_service.control.estimates import Machine, Speeds, Work, estimate, least_memory
from rlt_service.control.workload import counted, work_of
from tests.engine.model_files import CONFIG

SMOLLM2 = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}


def shape(**changes: object) -> ModelShape:
    found = shape_of(SMOLLM2 | changes)
    assert found is not None
    return found


def test_the_parameters_of_a_known_model_are_counted_exactly() -> None:
    # 49152*576 + 30 * (2*576*576 + 2*576*192 + 3*576*1536 + 2*576) + 576, as the model's card says.
    assert shape().parameters == 134_515_008
    # A second table of 49152*576.
    assert shape(tie_word_embeddings=False).parameters == 134_515_008 + 28_311_552


def test_an_adapter_has_rank_times_both_sides_of_each_target() -> None:
    # q, o: 1152; k, v: 768; gate, up, down: 2112; together 10176, times rank 16, times 30 layers.
    assert shape().adapter_parameters(rank=16, targets=LINEAR_TARGETS) == 4_884_480
    assert shape().adapter_parameters(rank=1, targets=["q_proj"]) == 30 * 1152


def test_a_token_leaves_the_numbers_of_every_layer() -> None:
    assert shape().activations == 30 * (4 * 576 + 4 * 576 + 4 * 1536)


@pytest.mark.parametrize("config", [{}, SMOLLM2 | {"num_local_experts": 8}, SMOLLM2 | {"hidden_size": "wide"}])
def test_a_model_of_another_kind_has_no_known_shape(config: dict[str, object]) -> None:
    assert shape_of(config) is None


TINY = shape_of(CONFIG)  # width 8, 1 layer, queries 8, keys 4, inner 16, vocabulary 32, tied
WORK = Work(
    generated=1000.0,
    scored=3000.0,
    trained=2000.0,
    generated_basis="g",
    scored_basis="s",
    trained_basis="t",
    passes=3,
    pass_tokens=10,
    logit_tokens=5,
    attended=6,
    row_tokens=4,
    row_logit_tokens=2,
    checkpoints=3,
    adapters=5,
    reference=True,
    recomputes=False,
    journal_completions=7,
)
SPEEDS = Speeds(generated_per_s=50.0, scored_per_s=200.0, completion_bytes=1000.0)
MACHINE = Machine(shape=TINY, adapter_parameters=100, accelerated=False)


def test_seconds_come_from_counted_tokens_at_measured_speeds() -> None:
    found = estimate(WORK, speeds=SPEEDS, machine=MACHINE)
    assert found.generate_s.value == 20.0  # 1000 / 50
    assert found.score_s.value == 15.0  # 3000 / 200
    assert found.train_s.value == 30.0  # 2000 * 3 / 200
    assert found.total_s.value == 65.0
    assert "50.0 tokens/s" in found.generate_s.basis
    assert (found.generated_tokens.value, found.generated_tokens.basis) == (1000.0, "g")


def test_what_was_not_measured_is_not_estimated() -> None:
    unknown = Speeds(generated_per_s=0.0, scored_per_s=0.0, completion_bytes=0.0)
    found = estimate(WORK, speeds=unknown, machine=replace(MACHINE, shape=None))
    values = [found.generate_s, found.score_s, found.train_s, found.total_s, found.memory_bytes, found.disk_bytes]
    assert [each.value for each in values] == [None] * 6
    assert all(each.basis for each in values)


def test_memory_sums_weights_adapter_reference_activations_and_logits() -> None:
    # Weights: 32*8 + (2*8*8 + 2*8*4 + 3*8*16 + 2*8) + 8 = 856 numbers, 3424 B. Adapter 100 * 16 = 1600, reference 400.
    # Activations: 10 tokens * (4*8 + 4*8 + 4*16 = 128, and 6 of the mask) * 4 = 5360. Logits: 5 * 32 * 16 = 2560.
    assert estimate(WORK, speeds=SPEEDS, machine=MACHINE).memory_bytes.value == 3424 + 1600 + 400 + 5360 + 2560
    half = estimate(WORK, speeds=SPEEDS, machine=replace(MACHINE, accelerated=True))
    assert half.memory_bytes.value == 3424 / 2 + 1600 + 400 + 5360 / 2 + 2560


def test_the_least_is_a_pass_over_one_row() -> None:
    least = least_memory(WORK, MACHINE)  # 4 tokens of which 2 have logits, in place of 10 and 5
    assert least is not None
    assert least.total == 3424 + 1600 + 400 + 4 * (128 + 4) * 4 + 2 * 32 * 16
    assert least_memory(WORK, replace(MACHINE, shape=None)) is None


def test_activations_that_are_computed_again_leave_a_layer_s_input_and_one_layer() -> None:
    # One layer of 128 numbers, its input of 8, and 6 of the mask.
    again = replace(WORK, recomputes=True, passes=4)
    found = estimate(again, speeds=SPEEDS, machine=MACHINE)
    assert found.memory_bytes.value == 3424 + 1600 + 400 + 10 * 142 * 4 + 2560
    assert "forward, backward, forward again and the reference's forward" in found.train_s.basis
    assert shape().recomputed_activations == 30 * 576 + 4 * 576 + 4 * 576 + 4 * 1536


def test_all_weights_have_gradients_and_moments_and_lie_on_disk_whole() -> None:
    full = replace(MACHINE, full=True, adapter_parameters=856)  # the shape's 3424 B of weights
    found = estimate(replace(WORK, reference=False), speeds=SPEEDS, machine=full)
    assert found.memory_bytes.value == 3424 + 4 * 3424 + 5360 + 2560
    assert "forward, backward, gradients of all weights)" in found.train_s.basis
    assert found.disk_bytes.value == 3 * 3 * 3424 + 5 * 3424 + 7000
    assert "5 more models of 3.42 kB" in found.disk_bytes.basis


def test_the_best_weights_so_far_are_held_in_memory_and_in_checkpoints() -> None:
    plain, choosing = (
        estimate(replace(WORK, keeps_best=keeps), speeds=SPEEDS, machine=MACHINE) for keeps in (False, True)
    )
    assert plain.memory_bytes.value is not None
    assert plain.disk_bytes.value is not None
    assert choosing.memory_bytes.value == plain.memory_bytes.value + 400
    assert "the best so far 400 B" in choosing.memory_bytes.basis
    assert choosing.disk_bytes.value == plain.disk_bytes.value + 3 * 400


def test_disk_sums_checkpoints_adapters_and_journal() -> None:
    # An adapter is 400 B, a checkpoint three times that: 3 * 1200 + 5 * 400 + 7 * 1000.
    assert estimate(WORK, speeds=SPEEDS, machine=MACHINE).disk_bytes.value == 12_600


RL = RlSpec(
    kind="rl",
    dataset="d",
    target_name="t",
    steps=10,
    questions_per_step=2,
    samples_per_question=4,
    max_tokens=50,
    save_every=3,
)
LENGTHS = Lengths(
    rows=6, looked_at=6, mean_tokens=30.0, longest_tokens=40, mean_reader_tokens=20.0, limit_tokens=900, too_long=0
)
ROW = RehearsedRow(row="r", reward=0.0, r_ss=0.0, r_kl=0.0, well_formed=True)
TRIED = Rehearsal(rows=[ROW, ROW], generated_tokens=50, generate_s=1.0, scored_tokens=9, score_s=1.0)


def test_an_rl_job_samples_scores_and_trains_each_completion() -> None:
    rows = counted(RL, lengths=LENGTHS, rehearsal=TRIED)
    work = work_of(RL, rows, train_rows=6, gate_rows=3, compared=2)
    assert rows.completion == 25.0  # 50 tokens in 2 tries
    assert work.generated == (10 * 8 + 3 * 2) * 25.0
    assert work.scored == (10 * 8 + 3 * 2) * (20.0 + 25.0)
    assert work.trained == 10 * (2 * 30.0 + 8 * 25.0)
    assert (work.passes, work.reference) == (3, True)
    # A completion bears 50 + ceil(40 / 4) = 60 tokens; all 8 fit into a pass.
    assert (work.pass_tokens, work.logit_tokens) == (480, 400)
    assert work.attended == 40 + 4 * 50  # a prompt with its completions
    assert (work.row_tokens, work.row_logit_tokens) == (90, 50)  # one completion bears its prompt alone
    assert (work.checkpoints, work.journal_completions) == (3, 6 * 8)  # two intervals of 3 steps


def test_measurements_and_further_students_are_work_too() -> None:
    spec = RL.model_copy(update={"eval_every": 4, "student": ["a", "b"], "gradient_checkpointing": True})
    rows = counted(spec, lengths=LENGTHS, rehearsal=TRIED)
    work = work_of(spec, rows, train_rows=6, gate_rows=3, compared=2, select_rows=5)
    # Measured after steps 4, 8 and 10.
    assert work.generated == (10 * 8 + 15 + 6) * 25.0
    assert work.scored == (2 * (10 * 8 + 15) + 6) * (20.0 + 25.0)
    assert (work.passes, work.recomputes) == (4, True)


def test_without_a_trial_the_longest_completion_is_assumed_and_said() -> None:
    rows = counted(RL, lengths=LENGTHS, rehearsal=Rehearsal(not_scored="away"))
    assert rows.completion == 50.0
    assert "max_tokens = 50" in work_of(RL, rows, train_rows=6, gate_rows=0, compared=1).generated_basis


def test_without_a_tokenizer_the_rows_that_were_tried_elsewhere_are_the_measure() -> None:
    # Two rows: prompts of 60 tokens together; read with their 50 explanation tokens and without: 130 = 2 * 40 + 50.
    tried = TRIED.model_copy(update={"prompt_tokens": 60, "scored_tokens": 130})
    rows = counted(RL, lengths=None, rehearsal=tried)
    assert (rows.row, rows.longest, rows.reader, rows.completion) == (30.0, 30, 20.0, 25.0)
    assert work_of(RL, rows, train_rows=6, gate_rows=0, compared=1).scored == 10 * 8 * (20.0 + 25.0)
    spec = WarmupSpec(kind="warmup", role="teacher", dataset="d", target_name="t")
    assert counted(spec, lengths=None, rehearsal=tried).row == 65.0


def test_without_the_penalty_the_reference_is_not_computed() -> None:
    rows = counted(RL, lengths=LENGTHS, rehearsal=TRIED)
    assert work_of(RL.model_copy(update={"beta": 0.0}), rows, train_rows=6, gate_rows=0, compared=1).passes == 2


def test_a_warm_up_trains_the_rows_that_fit() -> None:
    spec = WarmupSpec(kind="warmup", role="teacher", dataset="d", target_name="t", batch_size=4, epochs=2.0)
    lengths = Lengths(rows=10, looked_at=10, mean_tokens=100.0, longest_tokens=3000, limit_tokens=2048, too_long=2)
    rows = counted(spec, lengths=lengths, rehearsal=Rehearsal())
    work = work_of(spec, rows, train_rows=10, gate_rows=0, compared=1)
    assert work.trained == 4 * 4 * 100.0  # 8 rows fit: 2 batches an epoch, 2 epochs
    assert (work.generated, work.scored, work.passes) == (0.0, 0.0, 2)
    whole = work_of(spec.model_copy(update={"lora": None}), rows, train_rows=10, gate_rows=0, compared=1)
    assert whole.passes == 3
    choosing = work_of(
        spec.model_copy(update={"eval_every": 3}), rows, train_rows=10, gate_rows=0, compared=1, select_rows=5
    )
    assert choosing.trained == work.trained
    assert "2 measurements of 5 rows left out" in choosing.trained_basis
    assert (work.keeps_best, choosing.keeps_best) == (False, True)
    assert work.attended == work.row_tokens == work.row_logit_tokens == 2048
    assert work.pass_tokens == 2 * 2048  # no row is longer than max_tokens; 2 of the 4 fit into a pass
