"""Pipelines: whose step a job is, and which job is a pipeline's step."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table; jobs so far are nobody's steps."""
    op.add_column("jobs", sa.Column("pipeline_id", sa.String(40), nullable=True))
    op.add_column("jobs", sa.Column("pipeline_round", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("pipeline_step", sa.String(40), nullable=True))
    op.create_index("ix_jobs_pipeline_id", "jobs", ["pipeline_id"])
    op.create_table(
        "pipeline_steps",
        sa.Column("pipeline_id", sa.String(40), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(40), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("taken_over", sa.Boolean(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["pipeline_id"], ["jobs.id"], name="fk_pipeline_steps_pipeline_id_jobs"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_pipeline_steps_job_id_jobs"),
        sa.PrimaryKeyConstraint("pipeline_id", "round", "step", name="pk_pipeline_steps"),
    )
    op.create_index("ix_pipeline_steps_job_id", "pipeline_steps", ["job_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_pipeline_steps_job_id", table_name="pipeline_steps")
    op.drop_table("pipeline_steps")
    op.drop_index("ix_jobs_pipeline_id", table_name="jobs")
    for name in ("pipeline_step", "pipeline_round", "pipeline_id"):
        op.drop_column("jobs", name)
