"""Workers say that they live, and the ERP's last trouble is kept."""

import sqlalchemy as sa
from alembic import op
import storage.types
revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'worker_heartbeat',
        sa.Column('queue', sa.String(length=32), primary_key=True),
        sa.Column('process', sa.String(length=128), primary_key=True),
        sa.Column('at', storage.types.Moment(), nullable=False),
    )
    with op.batch_alter_table('erp_cursor') as cursor:
        cursor.add_column(sa.Column('error', sa.Text(), nullable=False, server_default=''))
        cursor.add_column(sa.Column('failed_at', storage.types.Moment(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('erp_cursor') as cursor:
        cursor.drop_column('failed_at')
        cursor.drop_column('error')
    op.drop_table('worker_heartbeat')
