"""Sends the letters of a peer, as they come: TABLE, columns and DB_URL from the environment."""

import os
import smtplib
import time
from email.message import EmailMessage

from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DB_URL"])
LETTER, SENT = os.environ["LETTER_TABLE"], os.environ["LETTER_SENT"]
with smtplib.SMTP("127.0.0.1", int(os.environ["SMTP_PORT"])) as server:
    while True:
        with engine.begin() as tx:
            rows = tx.execute(
                text(f"select id, recipient, subject, body from {LETTER} where {SENT} = 0 order by id limit 20")
            ).all()
        for row in rows:
            letter = EmailMessage()
            letter["From"], letter["To"], letter["Subject"] = "quotes@example.com", row.recipient, row.subject
            letter.set_content(row.body)
            server.send_message(letter)
        if rows:
            with engine.begin() as tx:
                tx.execute(
                    text(f"update {LETTER} set {SENT} = 1 where id in ({','.join(str(row.id) for row in rows)})")
                )
        else:
            time.sleep(0.25)
