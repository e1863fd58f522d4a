"""What the command line says when something that it needs is away: one line, and an exit code of its own."""

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.output import AWAY

KEYS = {
    f"DEALWRIGHT_{name}": letter * 40 for name, letter in (("SECRET", "s"), ("AUDIT_KEY", "a"), ("COMMAND_KEY", "c"))
}
NOBODY = {"TEMPORAL_ADDRESS": "127.0.0.1:1"}


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/x.db", "postgresql://nobody@127.0.0.1:1/x"])
@pytest.mark.parametrize("command", [["audit", "verify"], ["samples"], ["doctor"]])
def test_what_is_away_is_said_in_one_line(url: str, command: list[str]) -> None:
    done = CliRunner().invoke(app, command, env={**KEYS, **NOBODY, "DEALWRIGHT_DATABASE_URL": url})
    assert done.exit_code == AWAY, (done.output, done.exception)
    assert "not answer" in done.output
    assert "Traceback" not in done.output
