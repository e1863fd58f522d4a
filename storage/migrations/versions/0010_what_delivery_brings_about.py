"""Facts of what was delivered, contracts, and the books of revenue."""

import sqlalchemy as sa
import sqlmodel
from alembic import op
import storage.types
revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    books = op.create_table('books',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('closed_through', sa.Date(), nullable=True),
    sa.PrimaryKeyConstraint('id')
    )
    op.bulk_insert(books, [{'id': 1, 'closed_through': None}])
    op.create_table('contract',
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('customer', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(), nullable=False),
    sa.Column('made_on', sa.Date(), nullable=False),
    sa.Column('made_by', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('contract', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_contract_customer'), ['customer'], unique=False)

    op.create_table('fulfilment_fact',
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('id', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('customer', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('order', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('at', storage.types.Moment(), nullable=False),
    sa.Column('body', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('number'),
    sa.UniqueConstraint('id')
    )
    with op.batch_alter_table('fulfilment_fact', schema=None) as batch_op:
        batch_op.create_index('fact_of_customer', ['customer', 'number'], unique=False)
        batch_op.create_index('fact_of_order', ['order', 'number'], unique=False)

    op.create_table('revenue_entry',
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('customer', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('order', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('line', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('product', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('currency', sqlmodel.sql.sqltypes.AutoString(length=3), nullable=False),
    sa.Column('kind', sqlmodel.sql.sqltypes.AutoString(length=8), nullable=False),
    sa.Column('fact', sqlmodel.sql.sqltypes.AutoString(length=64), nullable=False),
    sa.Column('month', sa.Date(), nullable=False),
    sa.Column('earned_in', sa.Date(), nullable=False),
    sa.Column('amount', sa.BigInteger(), nullable=False),
    sa.Column('at', storage.types.Moment(), nullable=False),
    sa.PrimaryKeyConstraint('number')
    )
    with op.batch_alter_table('revenue_entry', schema=None) as batch_op:
        batch_op.create_index('revenue_by_month', ['month'], unique=False)
        batch_op.create_index('revenue_of_customer', ['customer', 'month'], unique=False)
        batch_op.create_index('revenue_of_order', ['order'], unique=False)



    with op.batch_alter_table('sales_order', schema=None) as batch_op:
        batch_op.add_column(sa.Column('promised', sa.Date(), nullable=True))
        batch_op.add_column(sa.Column('started_on', sa.Date(), nullable=True))
        batch_op.add_column(sa.Column('fulfilled_on', sa.Date(), nullable=True))
        batch_op.add_column(sa.Column('fallout_at', storage.types.Moment(), nullable=True))
        batch_op.add_column(sa.Column('backordered', sa.Integer(), server_default='0', nullable=False))


def downgrade() -> None:
    with op.batch_alter_table('sales_order', schema=None) as batch_op:
        for name in ('backordered', 'fallout_at', 'fulfilled_on', 'started_on', 'promised'):
            batch_op.drop_column(name)
    with op.batch_alter_table('revenue_entry', schema=None) as batch_op:
        batch_op.drop_index('revenue_of_order')
        batch_op.drop_index('revenue_of_customer')
        batch_op.drop_index('revenue_by_month')

    op.drop_table('revenue_entry')
    with op.batch_alter_table('fulfilment_fact', schema=None) as batch_op:
        batch_op.drop_index('fact_of_order')
        batch_op.drop_index('fact_of_customer')

    op.drop_table('fulfilment_fact')
    with op.batch_alter_table('contract', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_contract_customer'))

    op.drop_table('contract')
    op.drop_table('books')
