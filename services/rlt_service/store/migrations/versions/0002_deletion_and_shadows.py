"""Versions can be deleted and leave their number behind; aliases can carry a shadow, whose pairs are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ORDINAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Add the tombstone and both tables."""
    op.add_column("versions", sa.Column("deleted_at", INSTANT))
    op.create_table(
        "shadows",
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("version", sa.String(80), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("max_in_flight", sa.Integer(), nullable=False),
        sa.Column("student", sa.String(200), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("skipped", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["role", "alias"], ["aliases.role", "aliases.alias"], name="fk_shadows_role_aliases"),
        sa.PrimaryKeyConstraint("role", "alias", name="pk_shadows"),
    )
    op.create_table(
        "shadow_pairs",
        sa.Column("ordinal", ORDINAL, autoincrement=True, nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("before", sa.String(80), nullable=False),
        sa.Column("after", sa.String(80), nullable=False),
        sa.Column("student", sa.String(80), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("row_before", DOCUMENT, nullable=False),
        sa.Column("row_after", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name="pk_shadow_pairs"),
    )
    op.create_index("ix_shadow_pairs_alias", "shadow_pairs", ["alias"])


def downgrade() -> None:
    """Drop both tables and the tombstone; what was deleted would come back, so those rows go."""
    op.drop_table("shadow_pairs")
    op.drop_table("shadows")
    op.execute("DELETE FROM versions WHERE deleted_at IS NOT NULL")
    op.drop_column("versions", "deleted_at")
