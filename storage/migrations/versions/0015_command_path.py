"""Commands are applied in the transaction that stores them; runs note how far Temporal follows."""

import sqlalchemy as sa
from alembic import op
import storage.types
revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'sweep',
        sa.Column('id', sa.Integer(), primary_key=True),
        sa.Column('swept_at', storage.types.Moment(), nullable=False),
        sa.Column('closed_because', sa.String(), nullable=False, server_default=''),
        sa.Column('mended_at', storage.types.Moment(), nullable=True),
    )
    op.drop_index('run_due', 'run')
    op.drop_index('run_unstarted', 'run')
    with op.batch_alter_table('run') as run:
        run.drop_column('unstarted_since')
        run.add_column(sa.Column('mark', sa.String(), nullable=False, server_default=''))
        run.add_column(sa.Column('changed_at', storage.types.Moment(), nullable=True))
        run.add_column(sa.Column('seen', sa.Integer(), nullable=False, server_default='-1'))
        run.add_column(sa.Column('wake_at', storage.types.Moment(), nullable=True))
        run.add_column(sa.Column('wakes', sa.Integer(), nullable=False, server_default='0'))
        run.add_column(sa.Column('forgeries', sa.Integer(), nullable=False, server_default='0'))
    op.execute("UPDATE run SET changed_at = opened_at, wake_at = opened_at WHERE running")
    op.execute("UPDATE run SET changed_at = opened_at WHERE changed_at IS NULL")
    op.execute(
        "UPDATE run SET mark = coalesce((SELECT event.mac FROM event "
        "WHERE event.run = run.id AND event.run_seq = run.seq), '')"
    )
    with op.batch_alter_table('run') as run:
        run.alter_column('changed_at', nullable=False)
    op.create_index('run_wake', 'run', ['wake_at'])
    op.drop_index('command_unanswered', 'command')
    with op.batch_alter_table('command') as command:
        command.alter_column('body', new_column_name='sent')
        command.add_column(sa.Column('apply_at', storage.types.Moment(), nullable=True))
    op.execute("UPDATE command SET apply_at = created_at WHERE NOT answered AND NOT parked")
    op.create_index('command_waiting', 'command', ['apply_at'])
    op.create_index('event_at', 'event', ['at'])


def downgrade() -> None:
    raise NotImplementedError('runs that follow the new command path cannot go back to the old one')
