"""API keys, and who owns what was made with one."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OWNED = ("jobs", "datasets", "evaluations", "versions")


def upgrade() -> None:
    """Add the table and the owners."""
    op.create_table(
        "keys",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("max_per_minute", sa.Integer(), nullable=True),
        sa.Column("max_at_once", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("job_id", sa.String(40), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_index("ix_keys_job_id", "keys", ["job_id"])
    for table in _OWNED:
        op.add_column(table, sa.Column("owner", sa.String(16), nullable=True))


def downgrade() -> None:
    """Drop them."""
    for table in _OWNED:
        op.drop_column(table, "owner")
    op.drop_index("ix_keys_job_id", table_name="keys")
    op.drop_table("keys")
