"""Guards of jobs: the engine, stops, checkpoints, waiting. Data only."""

from benchmarks.reliability.guard import Guard

JOBS = "services/rlt_service/store/jobs.py"
OUTBOX_TESTS = "tests/store/test_outbox.py"
JOB_TESTS = "tests/store/test_jobs.py"
RECONCILER_TESTS = "tests/jobs/test_reconciler.py"
SUPERVISOR_TESTS = "tests/jobs/test_supervisor.py"
WORKER_TESTS = "tests/jobs/test_worker.py"
RESUME_TESTS = "tests/train/on_tiny_model/test_resume.py"
LIFELINE_TESTS = "tests/train/on_tiny_model/test_lifeline.py"
OUTAGE_TEST = "tests/jobs/test_database_outage.py::test_a_job_outlives_a_database_that_is_away_for_longer_than_a_lease"
EXIT_CODE_TEST = "test_a_trainer_that_can_say_nothing_more_says_it_by_its_exit_code"
FENCE_TEST = f"{JOB_TESTS}::test_every_write_of_an_attempt_that_lost_its_lease_is_refused"
OVERTAKEN_TEST = f"{JOB_TESTS}::test_a_claim_of_a_row_that_another_took_meanwhile_takes_nothing"
NEWER_SPEC_TEST = f"{JOB_TESTS}::test_a_spec_of_a_newer_version_or_kind_waits_for_a_newer_worker_and_holds_up_nobody"
ORPHAN_TEST = f"{WORKER_TESTS}::test_a_cancelled_job_leaves_no_process_not_even_an_orphan_that_ignores_signals"
SPOILT_TEST = f"{RESUME_TESTS}::test_a_checkpoint_that_is_not_as_it_was_written_gives_way_to_the_one_before"
KILLED_RL_TEST = f"{RESUME_TESTS}::test_a_killed_rl_run_ends_with_the_bytes_of_one_that_was_not"

JOB_GUARDS = (
    Guard(
        name="fence",
        section="job engine",
        promise="every write of an attempt carries its number, and a stale one is refused",
        file="services/rlt_service/store/job_rows.py",
        old='if row.status != "running" or row.attempt != attempt:',
        new='if row.status != "running":',
        tests={
            f"{FENCE_TEST}[sqlite-{write}]": "DID NOT RAISE"
            for write in ("beat", "progress", "event", "finish", "requeue", "suspend")
        },
    ),
    Guard(
        name="attempt-in-path",
        section="job engine",
        promise="the attempt is part of every path that it writes to",
        file="services/rlt_service/store/artifacts.py",
        old='return self._inside("jobs", job_id, f"attempt-{attempt}")',
        new='return self._inside("jobs", job_id, "attempt-1")',
        tests={"tests/store/test_artifacts.py::test_nothing_that_two_attempts_write_has_one_path": "assert"},
    ),
    Guard(
        name="compare-and-swap",
        section="job engine",
        promise="a claim takes a row only as it was read: queued, at that attempt",
        file=JOBS,
        old='.where(JobRow.ordinal == row.ordinal, JobRow.status == "queued", JobRow.attempt == row.attempt)',
        new=".where(JobRow.ordinal == row.ordinal)",
        tests={
            f"{OVERTAKEN_TEST}[sqlite-running]": "cannot become running",
            f"{OVERTAKEN_TEST}[sqlite-queued]": "assert ClaimedJob",
        },
    ),
    Guard(
        name="outbox",
        section="job engine",
        promise="job and bell are stored in one transaction",
        file=JOBS,
        old="            session.add(OutboxRow(queue=row.queue, job_id=row.id, due_at=spec.not_before))\n",
        new='            session.connection().exec_driver_sql("COMMIT")\n'
        '            session.connection().exec_driver_sql("BEGIN")\n'
        "            session.add(OutboxRow(queue=row.queue, job_id=row.id, due_at=spec.not_before))\n",
        tests={f"{OUTBOX_TESTS}::test_a_job_whose_bell_cannot_be_stored_is_not_stored_either[sqlite]": "assert"},
    ),
    Guard(
        name="ring-again",
        section="job engine",
        promise="a bell that the broker lost is rung again",
        file="services/rlt_service/jobs/reconciler.py",
        old="            ring_again(self._outbox, self._bell)\n",
        new="",
        tests={f"{RECONCILER_TESTS}::test_a_bell_that_was_lost_is_rung_again_but_not_in_every_round[sqlite]": "assert"},
    ),
    Guard(
        name="monotonic-lease",
        section="job engine",
        promise="a lease is judged on the watcher's monotonic clock: no wall clock decides",
        file="services/rlt_service/jobs/reconciler.py",
        old="clock: Callable[[], float] = time.monotonic,",
        new="clock: Callable[[], float] = lambda: time.time(),",
        tests={f"{RECONCILER_TESTS}::test_a_wall_clock_that_jumps_takes_no_job_away[sqlite]": "assert"},
    ),
    Guard(
        name="lease-margin",
        section="job engine",
        promise="a trainer gives up before any watcher may hand its job on",
        file="services/rlt_service/jobs/preparation.py",
        old="LEASE_SHARE = 0.8",
        new="LEASE_SHARE = 1.0",
        tests={f"{SUPERVISOR_TESTS}::test_a_trainer_gives_up_before_any_watcher_may_hand_its_job_on[sqlite]": "assert"},
    ),
    Guard(
        name="beat-of-the-judgement",
        section="job engine",
        promise="a job that has beaten since its watcher looked is left alone",
        file=JOBS,
        old="if beat is not None and row.beat != beat:",
        new="if False:",
        tests={
            f"{RECONCILER_TESTS}::test_a_job_that_beats_while_its_watcher_stands_still_is_left_alone[sqlite]": "assert"
        },
    ),
    Guard(
        name="clock-before-rows",
        section="job engine",
        promise="the time that a watcher takes to read makes no job look older than it is",
        file="services/rlt_service/jobs/reconciler.py",
        old="self._watcher.expired(self._running(), now_s=now_s)",
        new="self._watcher.expired(self._running(), now_s=self._clock())",
        tests={
            f"{RECONCILER_TESTS}::test_the_time_that_a_watcher_takes_to_read_makes_no_job_look_older[sqlite]": "assert"
        },
    ),
    Guard(
        name="begin-immediate",
        section="job engine",
        promise="on SQLite a transaction that writes has the write lock before it reads",
        file="services/rlt_service/store/database.py",
        old='"BEGIN IMMEDIATE" if immediate else "BEGIN"',
        new='"BEGIN"',
        tests={
            "tests/store/test_database.py"
            "::test_a_transaction_that_has_only_read_holds_the_write_lock_already": "DID NOT RAISE"
        },
    ),
    Guard(
        name="skip-locked",
        section="job engine",
        promise="on Postgres a claim goes past a row that another holds",
        file=JOBS,
        old="query.with_for_update(skip_locked=True) if lock",
        new="query.with_for_update() if lock",
        tests={
            "tests/store/test_postgres.py::test_a_claim_goes_past_a_job_whose_row_another_holds": "StorageUnavailable"
        },
    ),
    Guard(
        name="registered-once",
        section="job engine",
        promise="a result that an earlier attempt registered is not trained again",
        file="services/rlt_service/jobs/supervisor.py",
        old="        if made is not None:\n            # An earlier attempt",
        new="        if False:\n            # An earlier attempt",
        tests={
            f"{SUPERVISOR_TESTS}::test_a_result_that_was_registered_before_the_crash_is_not_trained_again[sqlite]": (
                "assert"
            )
        },
    ),
    Guard(
        name="spec-version",
        section="job engine",
        promise="a spec that is newer than the worker waits for a newer worker",
        file=JOBS,
        old="                JobRow.spec_version <= SPEC_VERSION,\n",
        new="",
        tests={f"{NEWER_SPEC_TEST}[sqlite]": "assert"},
    ),
    Guard(
        name="three-crashes",
        section="job engine",
        promise="three crashes in a row without progress end a job",
        file=JOBS,
        old="elif row.crashes >= self._rules.max_crashes:",
        new="elif False:",
        tests={f"{JOB_TESTS}::test_three_crashes_in_a_row_without_progress_end_a_job[sqlite]": "assert"},
    ),
    Guard(
        name="lost-lease-is-no-crash",
        section="job engine",
        promise="a trainer that ended because no beat was stored for a lease has not crashed",
        file="services/rlt_service/jobs/supervisor.py",
        old="crash=not (away or lost)",
        new="crash=not away",
        tests={OUTAGE_TEST: "failed", f"{SUPERVISOR_TESTS}::{EXIT_CODE_TEST}[sqlite-75-queued]": "assert [1] == [0]"},
    ),
    Guard(
        name="outage-is-no-silence",
        section="job engine",
        promise="a database that is away for a lease costs no supervisor its job",
        file="services/rlt_service/jobs/reconciler.py",
        old="            self._watcher.forget()\n",
        new="",
        tests={
            f"{RECONCILER_TESTS}::test_a_database_that_was_away_for_a_lease_takes_no_job_from_its_worker[sqlite]": (
                "assert"
            )
        },
    ),
    Guard(
        name="descendants",
        section="stop and cancel",
        promise="descendants are ended, also those in sessions of their own",
        file="services/rlt_service/jobs/trainer_process.py",
        old="        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)\n",
        new="        return\n",
        tests={f"{ORPHAN_TEST}[sqlite]": "assert False"},
    ),
    Guard(
        name="sigkill-after-grace",
        section="stop and cancel",
        promise="what does not end by SIGTERM within its grace is killed",
        file="services/rlt_service/jobs/supervisor.py",
        old="            elif time.monotonic() >= kill_at_s:\n",
        new="            elif False:\n",
        tests={f"{ORPHAN_TEST}[sqlite]": "not within"},
    ),
    Guard(
        name="strays",
        section="stop and cancel",
        promise="what a killed worker's trainer left in other sessions is ended by the next worker of the host",
        file="services/rlt_service/jobs/strays.py",
        old="            if found.job_id in running and found.attempt != running[found.job_id]:",
        new="            if False:",
        tests={
            f"{WORKER_TESTS}::test_what_a_killed_workers_trainer_left_in_other_sessions_is_ended[sqlite]": "not within"
        },
    ),
    Guard(
        name="silent-supervisor",
        section="stop and cancel",
        promise="a trainer whose supervisor is silent for a lease stops writing and ends",
        file="rlt_train/lifeline.py",
        old="while time.monotonic() - changed_s < lease_s:",
        new="while True:",
        tests={f"{LIFELINE_TESTS}::test_silence_loses_the_lease_and_beats_keep_it": "silence was noticed"},
    ),
    Guard(
        name="dead-supervisor",
        section="stop and cancel",
        promise="a trainer ends with the process that started it",
        file="rlt_train/lifeline.py",
        old="    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)\n",
        new="",
        tests={f"{LIFELINE_TESTS}::test_trainer_ends_when_its_parent_is_killed": "the child is gone"},
    ),
    Guard(
        name="worker-drain",
        section="stop and cancel",
        promise="a worker that is asked to end gives its job back at once, and ends",
        file="services/rlt_service/jobs/worker.py",
        old="        drain.requested = True\n",
        new="        pass\n",
        tests={
            f"{WORKER_TESTS}::test_a_worker_that_is_asked_to_end_gives_its_job_back_and_ends_well[sqlite]": (
                "TimeoutExpired"
            )
        },
    ),
    Guard(
        name="manifest",
        section="checkpoints",
        promise="a resume takes a checkpoint only where every file is as its manifest says",
        file="rlt_train/checkpoints.py",
        old='if path.stat().st_size != facts["size"] or file_sha256(path) != facts["sha256"]:',
        new='if path.stat().st_size != facts["size"]:',
        tests={
            f"{SPOILT_TEST}[a flipped bit]": "assert",
        },
    ),
    Guard(
        name="spec-of-checkpoint",
        section="checkpoints",
        promise="a checkpoint of another spec is not taken up",
        file="rlt_train/checkpoints.py",
        old='if (manifest["step"], manifest["spec_sha256"]) != (point.step, spec):',
        new='if manifest["step"] != point.step:',
        tests={f"{RESUME_TESTS}::test_a_checkpoint_of_another_spec_is_not_taken_up": "assert"},
    ),
    Guard(
        name="journal",
        section="checkpoints",
        promise="rollouts are on disk before the optimizer step that they cause",
        file="rlt_train/experience.py",
        old="        self._journal.write(\n            collected.rollouts,\n",
        new="        (lambda *_, **__: None)(\n            collected.rollouts,\n",
        tests={f"{KILLED_RL_TEST}[in the optimizer step]": "assert"},
    ),
    Guard(
        name="stored-before-removed",
        section="checkpoints",
        promise="a checkpoint that the database knows stays until it knows two newer ones",
        file="rlt_train/checkpoints.py",
        old="known = [folder for folder in folders if _step_of(folder) <= stored]",
        new="known = folders",
        tests={
            "tests/train/on_tiny_model/test_resume.py::"
            "test_what_the_database_does_not_know_yet_costs_no_checkpoint_that_it_knows": "'step-6'] == ",
        },
    ),
    Guard(
        name="temporary-folder",
        section="checkpoints",
        promise="a folder that was not filled to its end does not get its name",
        file="rlt_train/durable.py",
        old='    temporary = target.with_name(f".{target.name}.part")\n    shutil.rmtree',
        new="    temporary = target\n    shutil.rmtree",
        tests={"tests/train/test_edges.py::test_folder_that_was_not_filled_to_the_end_does_not_appear": "assert"},
    ),
    Guard(
        name="engine-away",
        section="waiting",
        promise="a service that is away is waited for, up to half an hour",
        file="rlt_train/patience.py",
        old="        if error.status in _AWAY_STATUS:\n            return waited_s < self.away_s\n",
        new="",
        tests={"tests/train/test_patience.py::test_engine_that_is_away_is_waited_for": "EngineUnavailableError"},
    ),
    Guard(
        name="full-disk",
        section="waiting",
        promise="a full disk pauses a job, and does not end it",
        file="services/rlt_service/jobs/supervisor.py",
        old='if error.code == "disk_full":',
        new="if False:",
        tests={
            f"{SUPERVISOR_TESTS}::test_an_error_that_the_trainer_names_decides_what_follows"
            "[sqlite-disk_full-retryable-paused-disk_full]": "assert",
            f"{SUPERVISOR_TESTS}::{EXIT_CODE_TEST}[sqlite-74-paused]": "assert",
        },
    ),
)
