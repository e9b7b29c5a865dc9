"""Projects: which key is of which, what each may use and has used, who handed a job in; the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_WORDS = "entries of the audit log do not change"
# Deletion is left to what is older than an installation keeps.
_KEEP = {
    "sqlite": [f"CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_WORDS}'); END"],
    "postgresql": [
        "CREATE FUNCTION rlt_audit_unchanged() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_WORDS}'; END $$",
        "CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION rlt_audit_unchanged()",
    ],
}


def upgrade() -> None:
    """Add tables and columns; keys so far are of no project, jobs so far were handed in by their owner."""
    op.create_table(
        "projects",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requests_per_day", sa.BigInteger(), nullable=True),
        sa.Column("tokens_per_day", sa.BigInteger(), nullable=True),
        sa.Column("jobs_at_once", sa.Integer(), nullable=True),
        sa.Column("gpu_hours_per_month", sa.Float(), nullable=True),
        sa.Column("disk_bytes", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )
    op.create_table(
        "project_uses",
        sa.Column("project_id", sa.String(16), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_project_uses_project_id_projects"),
        sa.PrimaryKeyConstraint("project_id", "day", name="pk_project_uses"),
    )
    op.create_table(
        "audit",
        sa.Column("ordinal", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=True),
        sa.Column("project_id", sa.String(16), nullable=True),
        sa.Column("action", sa.String(120), nullable=False),
        sa.Column("subject", sa.String(200), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("request_id", sa.String(128), nullable=True),
        sa.PrimaryKeyConstraint("ordinal", name="pk_audit"),
    )
    op.create_index("ix_audit_created_at", "audit", ["created_at"])
    for statement in _KEEP[op.get_bind().dialect.name]:
        op.execute(statement)
    op.add_column("keys", sa.Column("project_id", sa.String(16), nullable=True))
    op.add_column("jobs", sa.Column("submitter", sa.String(16), nullable=True))
    op.add_column("jobs", sa.Column("processes", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("max_runtime_s", sa.Float(), nullable=True))
    op.create_index("ix_jobs_owner_status", "jobs", ["owner", "status"])
    op.add_column("versions", sa.Column("size_bytes", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("versions", "size_bytes")
    op.drop_index("ix_jobs_owner_status", table_name="jobs")
    for name in ("max_runtime_s", "processes", "submitter"):
        op.drop_column("jobs", name)
    op.drop_column("keys", "project_id")
    op.drop_index("ix_audit_created_at", table_name="audit")
    for table in ("audit", "project_uses", "projects"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION rlt_audit_unchanged()")
