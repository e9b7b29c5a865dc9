"""The history of aliases says who asked for each move."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add who asked; of earlier moves it is not known."""
    op.add_column("alias_changes", sa.Column("by", sa.String(100), nullable=False, server_default="unknown"))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("alias_changes", "by")
