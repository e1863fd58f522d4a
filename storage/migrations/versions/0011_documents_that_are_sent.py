"""Documents that are sent to an ERP by themselves, and how far its reports were read."""

import sqlalchemy as sa
import sqlmodel
from alembic import op
import storage.types
revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('erp_cursor',
    sa.Column('adapter', sqlmodel.sql.sqltypes.AutoString(length=32), nullable=False),
    sa.Column('cursor', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('adapter')
    )
    with op.batch_alter_table('erp_document', schema=None) as batch_op:
        batch_op.add_column(sa.Column('attempts', sa.Integer(), server_default='0', nullable=False))
        batch_op.add_column(sa.Column('error', sa.Text(), server_default='', nullable=False))
        batch_op.add_column(sa.Column('next_at', storage.types.Moment(), nullable=True))
        batch_op.create_index('erp_document_due', ['status', 'next_at'], unique=False)
    op.execute('UPDATE erp_document SET next_at = created_at')


def downgrade() -> None:
    with op.batch_alter_table('erp_document', schema=None) as batch_op:
        batch_op.drop_index('erp_document_due')
        for name in ('next_at', 'error', 'attempts'):
            batch_op.drop_column(name)
    op.drop_table('erp_cursor')
