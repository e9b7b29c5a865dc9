"""Guards of pipelines, of students that are reinforced on their own answers, and of dry runs. Data only."""

from benchmarks.reliability.guard import Guard

STORE = "services/rlt_service/store/pipelines.py"
CONDUCTOR = "services/rlt_service/jobs/conductor.py"
SUBMISSION = "services/rlt_service/control/submission.py"
DRY_RUN = "services/rlt_service/control/dry_run.py"
PIPELINE_TESTS = "tests/store/test_pipelines.py"
CONDUCTOR_TESTS = "tests/jobs/test_conductor.py"
SOLUTION_TESTS = "tests/train/test_solutions.py"
RLVR_TESTS = "tests/service/test_rlvr.py"
TINY_RLVR_TESTS = "tests/train/on_tiny_model/test_rlvr.py"
REFUSED_TEST = f"{RLVR_TESTS}::test_what_cannot_be_reinforced_is_refused_before_anything_starts"
BROKEN_DISK_TEST = (
    "tests/service/test_dry_run.py::test_a_disk_that_breaks_while_rows_are_counted_or_chosen_is_told_as_such"
)
READS_ROWS = '        with storage_faults(f"read the rows of dataset {checked.spec.dataset}"):\n'

CONDUCTOR_GUARDS = (
    Guard(
        name="one-stuck-pipeline",
        section="pipelines",
        promise="a pipeline that cannot be moved on holds up no other",
        file=CONDUCTOR,
        old="            except Exception:  # a pipeline's boundary",
        new="            except KeyboardInterrupt:  # a pipeline's boundary",
        tests={
            f"{PIPELINE_TESTS}::test_a_pipeline_that_cannot_be_moved_holds_up_no_other[sqlite]": "a fault of ours",
        },
    ),
    Guard(
        name="storage-is-waited-for",
        section="pipelines",
        promise="a step whose checks find storage away waits, and is not refused",
        file=CONDUCTOR,
        old="        except UnavailableError:\n            raise\n",
        new="",
        tests={
            f"{PIPELINE_TESTS}::test_a_step_waits_while_what_its_checks_read_is_away[sqlite]": "assert",
        },
    ),
    Guard(
        name="step-checks",
        section="pipelines",
        promise="a step is checked again when its inputs are there, and a refusal ends the pipeline with the reason",
        file=CONDUCTOR,
        old="            self._check(spec, underway.id)",
        new="            pass",
        tests={
            f"{PIPELINE_TESTS}::test_a_step_that_is_refused_when_its_time_comes_fails_the_pipeline_with_the_reason"
            "[sqlite]": "assert",
        },
    ),
    Guard(
        name="stopping-conductor",
        section="pipelines",
        promise="a conductor that was stopped hands nothing in any more",
        file=CONDUCTOR,
        old="        self._stopping = True\n",
        new="        self._stopping = False\n",
        tests={
            f"{CONDUCTOR_TESTS}::test_the_thread_moves_a_pipeline_on_until_it_is_stopped[sqlite]": "assert 3 == 2",
        },
    ),
    Guard(
        name="owners-eyes",
        section="pipelines",
        promise="a step sees what the key sees that its pipeline belongs to, and no more",
        file="services/rlt_service/control/step_checks.py",
        old="VIEWER.set(self.keys.viewer_of_job(pipeline_id))",
        new="VIEWER.set(None)",
        tests={f"{PIPELINE_TESTS}::test_a_step_is_checked_with_its_submitters_eyes[sqlite]": "assert"},
    ),
    Guard(
        name="step-with-its-bell",
        section="pipelines",
        promise="a step's job, its bell and the pipeline's event are stored together",
        file=STORE,
        old="            session.add(OutboxRow(queue=job.queue, job_id=job.id, due_at=spec.not_before))\n",
        new="",
        tests={
            f"{PIPELINE_TESTS}::test_a_step_its_bell_and_the_event_are_stored_together_or_not_at_all[sqlite]": (
                "assert [1, 1, 0] == [1, 1, 1]"
            ),
        },
    ),
    Guard(
        name="no-step-after-a-stop",
        section="pipelines",
        promise="no step is begun once its pipeline fails, or was asked to pause or to end",
        file=STORE,
        old='stopped = row.status != "running" or row.error is not None or row.cancel_requested or row.pause_requested',
        new='stopped = row.status != "running"',
        tests={
            f"{PIPELINE_TESTS}::test_a_step_is_not_begun_after_its_pipeline_was_asked_to_stop[sqlite]": "assert Job",
        },
    ),
    Guard(
        name="step-ends-once",
        section="pipelines",
        promise="the end of a step is told once, whoever looks how often",
        file=STORE,
        old="        if step.ended or job.status not in TERMINAL:",
        new="        if job.status not in TERMINAL:",
        tests={
            f"{PIPELINE_TESTS}::test_a_conductor_that_is_killed_anywhere_loses_nothing_and_hands_in_nothing_twice"
            "[sqlite]": "assert [3, ",
        },
    ),
    Guard(
        name="no-lease-for-pipelines",
        section="pipelines",
        promise="no worker is woken for a pipeline, and no lease of one runs out",
        file="services/rlt_service/store/pipeline_rows.py",
        old="    return JobRow.kind != CONDUCTED",
        new='    return JobRow.kind != ""',
        tests={f"{PIPELINE_TESTS}::test_no_worker_no_bell_and_no_lease_is_for_a_pipeline[sqlite]": "assert"},
    ),
    Guard(
        name="kept-for-later-steps",
        section="pipelines",
        promise="what a step made stays until its pipeline has ended",
        file="services/rlt_service/store/pipeline_rows.py",
        old="    return set(session.scalars(query))",
        new="    return set(list(session.scalars(query))[:0])",
        tests={
            f"{PIPELINE_TESTS}::test_a_dataset_that_a_step_collected_stays_until_the_pipeline_has_ended[sqlite]": (
                "DID NOT RAISE"
            ),
            f"{CONDUCTOR_TESTS}::test_a_version_that_a_step_made_stays_until_the_pipeline_has_ended[sqlite]": (
                "DID NOT RAISE"
            ),
        },
    ),
)
STUDENT_GUARDS = (
    Guard(
        name="solved-by-the-policy",
        section="students",
        promise="a solution by any policy but the one asked for is never trained on",
        file="rlt_train/solutions.py",
        old='        expect(answer.student.version, request.student, what="a solution\'s student")\n',
        new="",
        tests={f"{SOLUTION_TESTS}::test_a_solution_by_another_policy_ends_the_job": "DID NOT RAISE"},
    ),
    Guard(
        name="unclosed-costs",
        section="students",
        promise="a solution that was never closed costs the format's penalty",
        file="rlt_train/solutions.py",
        old="closed=solution is not None, weights",
        new="closed=True, weights",
        tests={
            f"{SOLUTION_TESTS}::test_each_solution_gets_the_reward_of_its_verdict_in_the_order_of_the_rows[1]": (
                "assert"
            ),
        },
    ),
    Guard(
        name="judged-rows",
        section="students",
        promise="rows whose answers the rule cannot judge are refused before anything starts",
        file=SUBMISSION,
        old="            _check_judged(spec, parts)\n",
        new="",
        tests={
            f"{REFUSED_TEST}[some-fields0-invalid_request-/dataset-1 of 11 rows cannot be judged by the verdict "
            "exact]": '"status":"queued"',
        },
    ),
    Guard(
        name="judged-rows-of-trainers",
        section="students",
        promise="a trainer that is handed such rows all the same ends before it asks for anything",
        file="rlt_train/rlvr.py",
        old="    check_judged(spec, parts)\n    services",
        new="    services",
        tests={
            f"{TINY_RLVR_TESTS}::test_rows_that_the_rule_cannot_judge_end_the_job_before_anything_is_asked": (
                "assert None is not None"
            ),
        },
    ),
    Guard(
        name="mathematics-beside-a-step",
        section="students",
        promise="mathematics, whose comparison no thread can bound in time, is never judged beside a step",
        file="services/rlt_service/control/specs.py",
        old='spec.max_staleness and spec.verdict == "math_verify"',
        new="False",
        tests={f"{RLVR_TESTS}::test_mathematics_is_never_judged_beside_a_step": '"status":"queued"'},
    ),
    Guard(
        name="policies-of-their-base",
        section="students",
        promise="a student's policies are served on the students' base, a teacher's on the teachers'",
        file="services/rlt_service/store/registry.py",
        old="resolution.current_base(session, role_of(cast(JobKind, job.kind)))",
        new="resolution.current_base(session)",
        tests={
            f"{RLVR_TESTS}::test_policies_of_students_with_a_base_of_their_own_are_called_on_their_engine": "assert",
        },
    ),
    Guard(
        name="base-of-the-role",
        section="students",
        promise="a student's warm-up trains the base that students are served on",
        file="services/rlt_service/bases.py",
        old="    return spec.role if isinstance(spec, WarmupSpec) else role_of(spec.kind)",
        new="    return role_of(spec.kind)",
        tests={
            "tests/jobs/test_distill.py::test_students_of_another_base_are_trained_on_theirs[warmup]": "assert",
        },
    ),
)
DRY_RUN_GUARDS = (
    Guard(
        name="disk-while-counting",
        section="waiting",
        promise="a disk that breaks while a dry run counts rows is storage that is away (503), no fault of the server",
        file=DRY_RUN,
        old=f"{READS_ROWS}            return measure_lengths(",
        new="        if True:\n            return measure_lengths(",
        tests={f"{BROKEN_DISK_TEST}[{kind}-BrokenAfterwards]": "OSError" for kind in ("rl", "warmup")},
    ),
    Guard(
        name="disk-while-choosing",
        section="waiting",
        promise="so it is where it breaks while a dry run chooses the rows that it tries",
        file=DRY_RUN,
        old=f"{READS_ROWS}            if self.engine",
        new="        if True:\n            if self.engine",
        tests={f"{BROKEN_DISK_TEST}[{kind}-BrokenOnceCounted]": "OSError" for kind in ("rl", "warmup")},
    ),
)
PIPELINE_GUARDS = (*CONDUCTOR_GUARDS, *STUDENT_GUARDS, *DRY_RUN_GUARDS)
