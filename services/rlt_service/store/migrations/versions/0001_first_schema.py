"""Make the first schema: jobs with events and bells, datasets, versions, rollouts, aliases, evaluations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ORDINAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True)

TABLES = (
    "rollouts",
    "outbox",
    "job_events",
    "evaluation_rows",
    "versions",
    "jobs",
    "evaluations",
    "datasets",
    "bells",
    "aliases",
    "alias_changes",
)


def upgrade() -> None:
    """Create every table."""
    _jobs()
    _job_events_and_bells()
    _datasets()
    _versions()
    _aliases()
    _evaluations()


def downgrade() -> None:
    """Drop every table, those that refer to others first."""
    for table in TABLES:
        op.drop_table(table)


def _ordinal() -> sa.Column[int]:
    return sa.Column("ordinal", ORDINAL, autoincrement=True, nullable=False)


def _jobs() -> None:
    op.create_table(
        "jobs",
        _ordinal(),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("queue", sa.String(40), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("not_before", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("finished_at", INSTANT),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("best_step", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("spec", DOCUMENT, nullable=False),
        sa.Column("progress", DOCUMENT, nullable=False),
        sa.Column("result", DOCUMENT),
        sa.Column("error", DOCUMENT),
        sa.PrimaryKeyConstraint("ordinal", name="pk_jobs"),
        sa.UniqueConstraint("id", name="uq_jobs_id"),
    )
    op.create_index("ix_jobs_queue_status", "jobs", ["queue", "status"])


def _job_events_and_bells() -> None:
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("data", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_events_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_job_events"),
    )
    op.create_table(
        "outbox",
        _ordinal(),
        sa.Column("queue", sa.String(40), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("due_at", INSTANT),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_outbox_job_id_jobs"),
        sa.PrimaryKeyConstraint("ordinal", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "bells",
        sa.Column("queue", sa.String(40), nullable=False),
        sa.Column("rings", sa.Integer(), nullable=False),
        sa.Column("quiet_until", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("queue", name="pk_bells"),
    )


def _datasets() -> None:
    op.create_table(
        "datasets",
        _ordinal(),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("columns", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name="pk_datasets"),
        sa.UniqueConstraint("id", name="uq_datasets_id"),
    )


def _versions() -> None:
    op.create_table(
        "versions",
        _ordinal(),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("base_model", sa.String(300), nullable=False),
        sa.Column("format", sa.String(80), nullable=False),
        sa.Column("adapter_sha256", sa.String(64)),
        sa.Column("lora_rank", sa.Integer()),
        sa.Column("parent", sa.String(80)),
        sa.Column("job_id", sa.String(40)),
        sa.Column("dataset_id", sa.String(40)),
        sa.Column("dataset_sha256", sa.String(64)),
        sa.Column("code_version", sa.String(80)),
        sa.Column("ensured_at", INSTANT),
        sa.PrimaryKeyConstraint("ordinal", name="pk_versions"),
        sa.UniqueConstraint("job_id", name="uq_versions_job_id"),
        sa.UniqueConstraint("name", "number", name="uq_versions_name_number"),
    )
    op.create_table(
        "rollouts",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("base_model", sa.String(300), nullable=False),
        sa.Column("format", sa.String(80), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_rollouts_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "attempt", "step", name="pk_rollouts"),
    )


def _aliases() -> None:
    op.create_table(
        "aliases",
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("version", sa.String(80), nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("role", "alias", name="pk_aliases"),
    )
    op.create_table(
        "alias_changes",
        _ordinal(),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("version", sa.String(80), nullable=False),
        sa.Column("previous", sa.String(80)),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evaluation", sa.String(40)),
        sa.PrimaryKeyConstraint("ordinal", name="pk_alias_changes"),
    )
    op.create_index("ix_alias_changes_role_alias", "alias_changes", ["role", "alias"])
    op.create_index("ix_alias_changes_version", "alias_changes", ["version"])


def _evaluations() -> None:
    op.create_table(
        "evaluations",
        _ordinal(),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("before", sa.String(80), nullable=False),
        sa.Column("after", sa.String(80), nullable=False),
        sa.Column("job_id", sa.String(40)),
        sa.Column("body", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name="pk_evaluations"),
        sa.UniqueConstraint("id", name="uq_evaluations_id"),
    )
    op.create_index("ix_evaluations_before_after", "evaluations", ["before", "after"])
    op.create_index("ix_evaluations_after", "evaluations", ["after"])
    op.create_index("ix_evaluations_job_id", "evaluations", ["job_id"])
    op.create_table(
        "evaluation_rows",
        sa.Column("evaluation_id", sa.String(40), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name="fk_evaluation_rows_evaluation_id_evaluations"
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "position", name="pk_evaluation_rows"),
    )
