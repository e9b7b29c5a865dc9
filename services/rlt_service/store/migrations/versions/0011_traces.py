"""A job knows in which trace it was submitted, and retries by kind and status are read of an index alone."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, null for jobs so far, and have the index hold attempts too."""
    op.add_column("jobs", sa.Column("traceparent", sa.String(55), nullable=True))
    op.drop_index("ix_jobs_kind_status", table_name="jobs")
    op.create_index("ix_jobs_kind_status_attempt", "jobs", ["kind", "status", "attempt"])


def downgrade() -> None:
    """Take both back."""
    op.drop_index("ix_jobs_kind_status_attempt", table_name="jobs")
    op.create_index("ix_jobs_kind_status", "jobs", ["kind", "status"])
    op.drop_column("jobs", "traceparent")
