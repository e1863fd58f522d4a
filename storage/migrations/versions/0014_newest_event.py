"""PostgreSQL reads a subject's newest event, once nobody else writes about the subject, in one question."""

from alembic import op
revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None

NEWEST_EVENT = """
CREATE OR REPLACE FUNCTION newest_event(of varchar, OUT seq integer, OUT mac varchar) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(of, 0));
    RETURN QUERY SELECT e.seq, e.mac FROM event e WHERE e.subject = of ORDER BY e.seq DESC LIMIT 1;
END $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == 'postgresql':
        op.execute(NEWEST_EVENT)


def downgrade() -> None:
    if op.get_bind().dialect.name == 'postgresql':
        op.execute('DROP FUNCTION IF EXISTS newest_event')
