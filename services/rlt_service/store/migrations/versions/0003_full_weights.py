"""Versions can be fully trained models: they have a hash of their weights in place of an adapter's."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the hash."""
    op.add_column("versions", sa.Column("weights_sha256", sa.String(64)))


def downgrade() -> None:
    """Drop the hash; without it a fully trained version would pass for its base, so those rows go."""
    op.execute("DELETE FROM versions WHERE weights_sha256 IS NOT NULL")
    op.drop_column("versions", "weights_sha256")
