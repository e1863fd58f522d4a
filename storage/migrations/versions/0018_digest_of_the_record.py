"""Each audit entry says the digest of the record that it leaves behind."""

import sqlalchemy as sa
from alembic import op
revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('event') as event:
        event.add_column(sa.Column('state', sa.String(length=64), nullable=False, server_default=''))


def downgrade() -> None:
    with op.batch_alter_table('event') as event:
        event.drop_column('state')
