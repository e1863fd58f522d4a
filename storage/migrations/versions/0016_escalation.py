"""Approvals say to whom they escalate and who may not decide them; one-time codes for links."""

import sqlalchemy as sa
from alembic import op
import storage.types
revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('approval') as approval:
        approval.add_column(sa.Column('escalation', sa.String(length=80), nullable=False, server_default=''))
        approval.add_column(sa.Column('barred', sa.String(), nullable=False, server_default=''))
    op.create_index('ix_approval_escalation', 'approval', ['escalation'])
    op.create_table(
        'code',
        sa.Column('person', sa.String(length=64), primary_key=True),
        sa.Column('nonce', sa.String(length=64), nullable=False),
        sa.Column('expires_at', storage.types.Moment(), nullable=False),
        sa.Column('tries', sa.Integer(), nullable=False),
    )
