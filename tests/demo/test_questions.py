from rlt_client.demo.loop import Demonstration
from rlt_client.demo.plan import DemoPlan
from rlt_client.demo.questions import Question, check_steps, generate_questions

CARLA = Question(
    id="q",
    question="Carla has 13 coins. Carla sells 9 coins. Carla finds 12 coins. How many coins does Carla have now?",
    solution="The answer is 16.",
    trace="13 - 9 = 4. 4 + 12 = 16. So Carla has 16 coins now.",
    steps=((13, -9, 4), (4, 12, 16)),
)


def test_generated_traces_are_right_and_end_at_the_solution() -> None:
    for question in generate_questions(count=200, seed=3):
        check = check_steps(question.trace, question=question)
        assert check.steps_right
        assert check.chain_right
        assert question.solution == f"The answer is {question.steps[-1][2]}."


def test_same_seed_gives_the_same_questions_and_all_differ() -> None:
    first, second = (generate_questions(count=100, seed=7) for _ in range(2))
    assert first == second
    assert len({question.question for question in first}) == 100
    assert first != generate_questions(count=100, seed=8)


def test_a_wrong_step_is_found_even_when_it_ends_at_the_answer() -> None:
    check = check_steps("13 - 9 = 16. So Carla has 16 coins now.", question=CARLA)
    assert check.equations == 1
    assert not check.steps_right
    assert not check.chain_right


def test_right_arithmetic_of_another_question_is_no_right_chain() -> None:
    check = check_steps("1 + 1 = 2.", question=CARLA)
    assert check.steps_right
    assert not check.chain_right


def test_an_explanation_without_equations_has_no_right_steps() -> None:
    assert not check_steps("So Carla has 16 coins now.", question=CARLA).steps_right


def test_report_questions_share_none_with_the_training_rows() -> None:
    demonstration = Demonstration(None, plan=DemoPlan(), screen=None)  # type: ignore[arg-type]
    training = {question.question for question in demonstration.training_questions}
    report = [question.question for question in demonstration.report_questions]
    assert len(set(report)) == DemoPlan().report_questions
    assert not training & set(report)


def test_a_slow_machine_gets_fewer_steps_of_reinforcement_but_never_none() -> None:
    # 840 - 160 - 22 x 4 = 592 s, a step is 16 s: 37, capped at 10. At 12 s a warm-up step: 840 - 400 - 264 = 176 s,
    # a step is 48 s: 3, raised to 4. At 8 s: 840 - 280 - 176 = 384 s, a step is 32 s: 12, capped; elapsed 420 s: 7.
    plan = DemoPlan()
    assert plan.affordable_rl_steps(elapsed_s=160.0, warmup_step_s=4.0) == 10
    assert plan.affordable_rl_steps(elapsed_s=400.0, warmup_step_s=12.0) == 4
    assert plan.affordable_rl_steps(elapsed_s=420.0, warmup_step_s=8.0) == 7
