"""Guards of upgrades: two releases that follow one another on one database. Data only."""

from benchmarks.reliability.guard import Guard

NEWER_TESTS = "tests/store/test_newer_rows.py"
UNREADABLE_TEST = f"{NEWER_TESTS}::test_it_does_not_where_that_needs_newer_code_or_the_mark_is_of_another_schema"
FIELDS_TEST = f"{NEWER_TESTS}::test_what_a_newer_release_has_stored_of_a_job_is_read_without_what_is_not_known_here"
LEASE_TEST = f"{NEWER_TESTS}::test_the_lease_of_a_job_with_a_newer_spec_is_a_newer_watchers"

UPGRADE_GUARDS = (
    Guard(
        name="oldest-reader",
        section="backup and upgrade",
        promise="a database of the next release is used where that says that this one's code may, and there alone",
        file="services/rlt_service/store/migration.py",
        old="    return oldest is not None and oldest <= newest_schema()\n",
        new="    return oldest is not None\n",
        tests={f"{UNREADABLE_TEST}[sqlite-9998-9998]": "DID NOT RAISE"},
    ),
    Guard(
        name="mark-of-its-schema",
        section="backup and upgrade",
        promise="what one release said of its schema is not taken for what the next says of its own",
        file="services/rlt_service/store/readers.py",
        old="    return found[2] if found is not None and found[1] == schema else None\n",
        new="    return found[2] if found is not None else None\n",
        tests={f"{UNREADABLE_TEST}[sqlite-0001-9997]": "DID NOT RAISE"},
    ),
    Guard(
        name="newer-fields",
        section="backup and upgrade",
        promise="what a newer release stored is read without the fields that are not known here",
        file="services/rlt_service/store/documents.py",
        old='    return into.model_validate(document, extra="ignore")\n',
        new="    return into.model_validate(document)\n",
        tests={f"{FIELDS_TEST}[sqlite]": "ValidationError"},
    ),
    Guard(
        name="newer-lease",
        section="backup and upgrade",
        promise="the lease of a job whose spec only newer workers read is theirs to watch",
        file="services/rlt_service/store/jobs.py",
        old='JobRow.status == "running", JobRow.spec_version <= SPEC_VERSION, for_workers()',
        new='JobRow.status == "running", for_workers()',
        tests={f"{LEASE_TEST}[sqlite]": "assert"},
    ),
)
