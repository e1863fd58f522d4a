"""Runs that the record began by itself are started by the sweeper if nobody else did."""

import sqlalchemy as sa
from alembic import op
import storage.types
revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('run', sa.Column('unstarted_since', storage.types.Moment(), nullable=True))
    op.create_index('run_unstarted', 'run', ['unstarted_since'])


def downgrade() -> None:
    op.drop_index('run_unstarted', 'run')
    op.drop_column('run', 'unstarted_since')
