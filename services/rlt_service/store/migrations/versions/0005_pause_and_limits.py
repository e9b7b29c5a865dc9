"""Running jobs can be paused, their time is counted over all attempts, and specs carry a version."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; jobs so far have specs of version 1."""
    op.add_column("jobs", sa.Column("pause_requested", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("runtime_s", sa.Float(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("progress_attempt", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("spec_version", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    """Drop them."""
    for name in ("spec_version", "progress_attempt", "runtime_s", "pause_requested"):
        op.drop_column("jobs", name)
