"""Guards of the service: calls sent twice, serving, security, back-up and upgrade. Data only."""

from benchmarks.reliability.guard import Guard

ADAPTER_TESTS = "tests/service/test_bad_adapters.py"
HOST_TESTS = "tests/service/test_engine_host.py"
ARTIFACT_TESTS = "tests/store/test_artifacts.py"
IDEMPOTENCY_TESTS = "tests/service/test_idempotency.py"
RESTORE_TESTS = "tests/backup/test_restore.py"
SLOW_TESTS = "tests/service/test_slow_parts.py"
GATE_TESTS = "tests/service/test_gate.py"
KEY_TESTS = "tests/service/test_keys.py"
SAME_AGAIN_TEST = f"{IDEMPOTENCY_TESTS}::test_the_same_submission_again_gets_the_first_answer_and_makes_no_second_job"
KILLED_SERVER_TEST = f"{IDEMPOTENCY_TESTS}::test_a_server_killed_between_the_job_and_its_answer_knows_the_answer"
IN_HAND_TEST = "tests/service/test_in_hand.py::test_above_the_requests_or_the_tokens_callers_are_told_to_come_back"
AT_WORK_TEST = f"{RESTORE_TESTS}::test_a_home_on_which_a_server_or_worker_works_without_a_launcher_is_not_replaced"
FORM_TEST = f"{IDEMPOTENCY_TESTS}::test_a_file_in_a_form_makes_one_dataset_whatever_the_boundary"
NO_BACKUP_TEST = f"{RESTORE_TESTS}::test_what_is_no_whole_backup_is_refused_and_leaves_no_home"

SERVICE_GUARDS = (
    Guard(
        name="key-with-its-effect",
        section="same call twice",
        promise="what a call with a key makes and its answer are stored in one transaction",
        file="services/rlt_service/store/jobs.py",
        old="            keep(session, job, status=202, headers="
        '{"content-type": JSON_TYPE, "location": f"/v1/jobs/{job.id}"})\n',
        new="",
        tests={
            f"{KILLED_SERVER_TEST}[sqlite]": "idempotency-replayed",
            "tests/store/test_concurrency.py::test_a_hundred_same_submissions_make_one_job[sqlite]": "assert",
        },
    ),
    Guard(
        name="first-answer",
        section="same call twice",
        promise="the same call with the same key is not carried out again",
        file="services/rlt_service/store/idempotency.py",
        old="            if row is None or row.created_at < now_utc() - KEPT_FOR:\n",
        new="            if True:\n",
        tests={f"{SAME_AGAIN_TEST}[sqlite]": "assert"},
    ),
    Guard(
        name="last-event-id",
        section="same call twice",
        promise="a reader of events goes on after its last one: none missing, none twice",
        file="services/rlt_service/control/event_stream.py",
        old="self.jobs.events(job_id, after_seq=after_seq, limit=PAGE)",
        new="self.jobs.events(job_id, after_seq=0, limit=PAGE)",
        tests={
            "tests/service/test_control_events.py"
            "::test_a_reader_goes_on_after_its_last_event_id_without_gap_or_repetition[4]": "assert"
        },
    ),
    Guard(
        name="done-last",
        section="same call twice",
        promise="a stream of events says that the job has ended once, after every event",
        file="services/rlt_service/control/event_stream.py",
        old="            if len(events) == PAGE:\n"
        "                job, events = await asyncio.to_thread(self._look, job_id, after_seq=after_seq)\n"
        "                continue\n",
        new="",
        tests={"tests/service/test_control_events.py::test_more_events_than_one_page_come_whole": "assert"},
    ),
    Guard(
        name="form-with-key",
        section="same call twice",
        promise="a file in a form is the same call, whatever its boundary",
        file="services/rlt_service/idempotency.py",
        old='boundary = form_boundary(Headers(scope=scope).get("content-type", ""))',
        new="boundary = None",
        tests={f"{FORM_TEST}[sqlite]": "AssertionError"},
    ),
    Guard(
        name="admission",
        section="serving",
        promise="over the bounded queue a call is 429 with Retry-After",
        file="services/rlt_service/in_hand.py",
        old="        if not begun:\n            self._check(load)\n",
        new="",
        tests={
            "tests/service/test_readiness.py::test_an_overloaded_server_answers_429": "TimeoutError",
            f"{IN_HAND_TEST}[more0]": "DID NOT RAISE",
            f"{IN_HAND_TEST}[more1]": "DID NOT RAISE",
        },
    ),
    Guard(
        name="drain",
        section="serving",
        promise="asked to end, a server finishes what is in flight",
        file="services/rlt_service/engine/admission.py",
        old="            await asyncio.wait(self._tasks, timeout=timeout_s)\n",
        new="            pass\n",
        tests={
            "tests/engine/test_admission.py::test_draining_refuses_new_work_and_lets_the_old_finish": (
                "EngineUnavailableError"
            )
        },
    ),
    Guard(
        name="engine-restart",
        section="serving",
        promise="an engine that died is started again by itself",
        file="services/rlt_service/engine_host.py",
        old="            await self._start_again()\n",
        new="            return\n",
        tests={f"{HOST_TESTS}::test_an_engine_that_ran_is_started_again_as_often_as_it_takes": "TimeoutError"},
    ),
    Guard(
        name="engine-death",
        section="serving",
        promise="requests in an engine that dies are 503 within 5 s",
        file="services/rlt_service/engine/admission.py",
        old="        await cancel_all(self._tasks)\n",
        new="",
        tests={f"{HOST_TESTS}::test_requests_in_an_engine_that_dies_are_503_within_5_s": "TimeoutError"},
    ),
    Guard(
        name="version-in-use",
        section="serving",
        promise="a version that a request runs on is not deleted",
        file="services/rlt_service/control/deletion.py",
        old="if running := self.requests.in_flight(name):",
        new="if running := 0:",
        tests={
            "tests/service/test_control_deletion.py"
            "::test_a_version_that_a_request_runs_on_stays_until_the_request_is_done": "AssertionError"
        },
    ),
    Guard(
        name="engine-owner",
        section="serving",
        promise="all processes of an engine end with a killed server",
        file="services/rlt_service/engine/owner.py",
        old='    threading.Thread(target=_end_with, args=(int(owner),), name="owner", daemon=True).start()\n',
        new="",
        tests={
            "tests/engine/test_owner.py::test_children_and_theirs_end_with_a_killed_owner_even_while_they_import": (
                "all have ended"
            )
        },
    ),
    Guard(
        name="hanging-part",
        section="serving",
        promise="/readyz answers also while the database or the artifacts' disk hangs",
        file="services/rlt_service/part_checks.py",
        old="asyncio.wait([looking], timeout=PART_S)",
        new="asyncio.wait([looking])",
        tests={
            f"{SLOW_TESTS}::test_a_database_that_hangs_is_told_in_time_and_asked_once": "TimeoutError",
            f"{SLOW_TESTS}::test_readyz_says_in_time_which_part_hangs_and_healthz_goes_on[database]": "TimeoutError",
            f"{SLOW_TESTS}::test_readyz_says_in_time_which_part_hangs_and_healthz_goes_on[disk]": "TimeoutError",
        },
    ),
    Guard(
        name="parts-at-once",
        section="serving",
        promise="/readyz tells all that hang in the time of one",
        file="services/rlt_service/health.py",
        old="await asyncio.gather(*asked.values())",
        new="[await one for one in asked.values()]",
        tests={
            f"{SLOW_TESTS}"
            "::test_all_that_hangs_together_is_told_in_the_time_of_one_and_healthz_needs_none_of_it": "TimeoutError"
        },
    ),
    Guard(
        name="gate-interval",
        section="serving",
        promise="a gate opens only for what the stored rows show to be better",
        file="services/rlt_service/control/gate.py",
        old="        if not found.ci_low > 0.0:\n",
        new="        if False:\n",
        tests={f"{GATE_TESTS}::test_figures_that_the_stored_rows_do_not_bear_out_open_nothing": "AssertionError"},
    ),
    Guard(
        name="gate-student",
        section="serving",
        promise="a gate goes by the judgement of the student that was asked for",
        file="services/rlt_service/control/gate.py",
        old="    if evaluation.student != student.version:\n",
        new="    if False:\n",
        tests={
            f"{GATE_TESTS}::test_the_judgement_of_another_student_counts_only_where_that_student_is_named": (
                "AssertionError"
            ),
            f"{GATE_TESTS}::test_a_judgement_is_stale_once_its_students_alias_has_moved": "AssertionError",
        },
    ),
    Guard(
        name="body-deadline",
        section="serving",
        promise="a body that does not come in time is a 408",
        file="services/rlt_service/json_bodies.py",
        old="deadline = asyncio.timeout(max_s)",
        new="deadline = asyncio.timeout(None)",
        tests={f"{SLOW_TESTS}::test_a_body_that_does_not_come_is_a_408_and_the_connection_ends": ("TimeoutError")},
    ),
    Guard(
        name="finite-weights",
        section="security",
        promise="a version with NaN in it is refused before any alias moves",
        file="services/rlt_service/engine/weight_files.py",
        old="if np.any((bits & exponent) == exponent):",
        new="if False:",
        tests={
            f"{ADAPTER_TESTS}::test_a_bad_adapter_is_not_registered[nan]": "AssertionError",
            f"{ADAPTER_TESTS}::test_a_bad_adapter_that_a_job_made_is_not_promoted[nan]": "AssertionError",
        },
    ),
    Guard(
        name="registered-hash",
        section="security",
        promise="files that are not the registered ones are not served",
        file="services/rlt_service/engine/adapters.py",
        old="    if digest != adapter.sha256:\n",
        new="    if False:\n",
        tests={
            "tests/engine/test_adapters.py::test_spoilt_folder_is_refused_with_the_reason[_other_weights-sha256]": (
                "DID NOT RAISE"
            )
        },
    ),
    Guard(
        name="links",
        section="security",
        promise="paths are resolved under the artifact root, and no link is followed",
        file="services/rlt_service/store/artifacts.py",
        old="            if path.is_symlink():\n                raise InvalidRequestError(",
        new="            if False:\n                raise InvalidRequestError(",
        tests={
            f"{ARTIFACT_TESTS}::test_a_linked_file_or_folder_is_refused": "DID NOT RAISE",
        },
    ),
    Guard(
        name="path-parts",
        section="security",
        promise="names that cannot be paths make none",
        file="services/rlt_service/store/artifacts.py",
        old="            if not _FOLDER.fullmatch(part):\n",
        new="            if False:\n",
        tests={f"{ARTIFACT_TESTS}::test_no_part_of_a_path_leads_elsewhere[../x]": "DID NOT RAISE"},
    ),
    Guard(
        name="body-size",
        section="security",
        promise="a body is bounded while it comes, whatever it announces",
        file="services/rlt_service/json_bodies.py",
        old="                if len(content) > max_bytes:\n                    raise _too_large(max_bytes)\n",
        new="",
        tests={
            "tests/service/test_json_bodies.py::test_a_body_is_whole_or_too_large_whatever_its_pieces": "DID NOT RAISE"
        },
    ),
    Guard(
        name="foreign-page",
        section="security",
        promise="a web page of another site changes nothing",
        file="services/rlt_service/cross_site.py",
        old="and is_foreign(Headers(scope=scope)):",
        new="and False:",
        tests={
            "tests/service/test_cross_site.py::test_an_upload_from_a_foreign_page_is_refused[headers2]": (
                "AssertionError"
            )
        },
    ),
    Guard(
        name="loopback",
        section="security",
        promise="loopback unless keys exist",
        file="services/rlt_service/serve.py",
        old="if not is_loopback(settings.host) and not KeyStore(database).exist():",
        new="if False:",
        tests={
            "tests/service/test_serve.py::test_without_keys_only_loopback_is_listened_on[0.0.0.0]": "DID NOT RAISE",
        },
    ),
    Guard(
        name="scope",
        section="security",
        promise="a key may do what its scopes say",
        file="services/rlt_service/access/scopes.py",
        old='if key is not None and self.scope != "any" and not has_scope(key, self.scope):',
        new="if False:",
        tests={f"{KEY_TESTS}::test_a_lacking_scope_is_403_before_the_body_is_looked_at": "assert"},
    ),
    Guard(
        name="rate-limit",
        section="security",
        promise="a key over its rate is told when to come back",
        file="services/rlt_service/access/limits.py",
        old="            if count.tokens < 1:\n",
        new="            if False:\n",
        tests={
            "tests/access/test_limits.py::test_a_bucket_fills_at_its_rate_and_holds_a_minutes_worth": "DID NOT RAISE",
            f"{KEY_TESTS}::test_a_key_over_its_rate_is_told_when_to_come_back": "KeyError",
        },
    ),
    Guard(
        name="owner",
        section="security",
        promise="what another key made is 404",
        file="services/rlt_service/store/ownership.py",
        old="return true() if viewer is None or viewer.sees_all else column == viewer.owner",
        new="return true()",
        tests={f"{KEY_TESTS}::test_a_dataset_of_another_key_is_as_unknown_as_none": "assert"},
    ),
    Guard(
        name="key-of-attempt",
        section="security",
        promise="a trainer's key ends with its attempt",
        file="services/rlt_service/store/keys.py",
        old='if job is None or job.status != "running" or job.attempt != row.attempt:',
        new="if job is None:",
        tests={
            "tests/store/test_keys.py"
            "::test_an_attempts_key_works_for_the_jobs_owner_until_the_attempt_ends[sqlite]": "assert"
        },
    ),
    Guard(
        name="whole-copy",
        section="backup and upgrade",
        promise="a backup holds what was registered, or is none",
        file="services/rlt_service/backup/snapshot.py",
        old="if files and _is_whole(item, target, files):",
        new="if files:",
        tests={
            "tests/backup/test_snapshot.py"
            "::test_a_folder_that_is_half_deleted_when_it_is_copied_is_not_taken_for_the_version": "DID NOT RAISE",
        },
    ),
    Guard(
        name="backup-hashes",
        section="backup and upgrade",
        promise="a backup that is not as it was written is not restored",
        file="services/rlt_service/backup/restore.py",
        old="    if (size, sha256) != (file.size, file.sha256):\n",
        new="    if False:\n",
        tests={
            f"{NO_BACKUP_TEST}[flipped-not as it was written]": "DID NOT RAISE",
            f"{NO_BACKUP_TEST}[truncated-not as it was written]": "DID NOT RAISE",
        },
    ),
    Guard(
        name="home-in-use",
        section="backup and upgrade",
        promise="a state folder that a server uses is not replaced",
        file="services/rlt_service/backup/restore.py",
        old="        folder.take()\n",
        new="",
        tests={f"{RESTORE_TESTS}::test_a_home_in_use_is_not_replaced": "DID NOT RAISE"},
    ),
    Guard(
        name="home-at-work",
        section="backup and upgrade",
        promise="a state folder on which a lone server or worker runs is not replaced",
        file="services/rlt_service/backup/restore.py",
        old="        folder.take_alone()\n",
        new="",
        tests={AT_WORK_TEST: "DID NOT RAISE"},
    ),
    Guard(
        name="migration",
        section="backup and upgrade",
        promise="a migration that is killed half-way has changed nothing",
        file="services/rlt_service/store/migration.py",
        old='        command.upgrade(config, "head")\n',
        new='        connection.exec_driver_sql("COMMIT")\n        command.upgrade(config, "head")\n',
        tests={
            "tests/store/test_sqlite_migrations.py"
            "::test_a_migration_that_is_killed_anywhere_has_changed_nothing_and_the_next_one_does_all": "assert"
        },
    ),
    Guard(
        name="newer-schema",
        section="backup and upgrade",
        promise="a database that a newer release wrote is left alone",
        file="services/rlt_service/store/migration.py",
        old="    if foreign := current - {revision.revision for revision in script.walk_revisions()}:\n",
        new="    if foreign := set():\n",
        tests={
            "tests/store/test_migrations.py::test_a_schema_of_a_newer_release_is_refused_with_its_number[sqlite]": ""
        },
    ),
)
