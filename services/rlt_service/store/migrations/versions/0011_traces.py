"""A job knows in which trace it was submitted, so that whoever runs it goes on in that one."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; jobs so far belong to none."""
    op.add_column("jobs", sa.Column("traceparent", sa.String(55), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("jobs", "traceparent")
