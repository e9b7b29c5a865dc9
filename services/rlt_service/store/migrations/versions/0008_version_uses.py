"""Which process runs requests on which version."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "version_uses",
        sa.Column("process", sa.String(32), nullable=False),
        sa.Column("version", sa.String(80), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("process", "version", name="pk_version_uses"),
    )
    op.create_index("ix_version_uses_version", "version_uses", ["version"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_version_uses_version", table_name="version_uses")
    op.drop_table("version_uses")
