"""Orders that let subscriptions of another order run on."""

import sqlalchemy as sa
from alembic import op
revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('sales_order') as sales_order:
        sales_order.add_column(sa.Column('extends', sa.String(length=64), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('sales_order') as sales_order:
        sales_order.drop_column('extends')
