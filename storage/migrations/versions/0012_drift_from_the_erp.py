"""What differs between our orders and those of the ERP."""

import sqlalchemy as sa
import sqlmodel
from alembic import op
import storage.types
revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('erp_drift',
    sa.Column('order', sqlmodel.sql.sqltypes.AutoString(length=200), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=16), nullable=False),
    sa.Column('line', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('ours', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('theirs', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('found_at', storage.types.Moment(), nullable=False),
    sa.Column('mend_at', storage.types.Moment(), nullable=True),
    sa.Column('words', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('order', 'kind', 'line')
    )


def downgrade() -> None:
    op.drop_table('erp_drift')
