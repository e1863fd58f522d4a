"""Temporal behind TLS that wants a client certificate, reached by the settings of Temporal's own tools."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from app.settings import Settings
from cli.dev import HOST
from tests.conftest import Live

pytestmark = pytest.mark.e2e
KEYS = {name: name[0] * 40 for name in ("secret", "audit_key", "command_key")}


@dataclass
class Gate:
    """A proxy that ends TLS, and files with what a client needs to pass it."""

    port: int
    folder: Path
    protocols: list[str | None]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "TEMPORAL_ADDRESS": f"localhost:{self.port}",
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(self.folder / "ca.pem"),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(self.folder / "client.pem"),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(self.folder / "client.key"),
        }


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def gate(folder: Path, temporal: int) -> AsyncIterator[Gate]:
    authority = trustme.CA()
    server, client = authority.issue_cert("localhost"), authority.issue_cert("worker@example.com")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    server.configure_cert(context)
    authority.configure_trust(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    client.private_key_pem.write_to_path(folder / "client.key")
    protocols: list[str | None] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocols.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        there_reader, there_writer = await asyncio.open_connection(HOST, temporal)
        await asyncio.gather(forward(reader, there_writer), forward(there_reader, writer))

    listening = await asyncio.start_server(pass_on, HOST, 0, ssl=context)
    try:
        yield Gate(listening.sockets[0].getsockname()[1], folder, protocols)
    finally:
        listening.close()


async def dealwright(live: Live, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command that connects to Temporal."""
    command = [str(Path(sys.executable).parent / "dealwright"), "attributes"]
    return await asyncio.to_thread(
        subprocess.run, command, env=live.stack.environment() | environment, capture_output=True, text=True, check=False
    )


async def test_temporal_is_reached_through_tls_with_a_client_certificate(live: Live, tmp_path: Path) -> None:
    async with gate(tmp_path, live.stack.ports.temporal) as there:
        done = await dealwright(live, there.environment)
        assert (done.returncode, done.stdout.strip()) == (0, "0 search attributes registered."), done.stderr
        assert set(there.protocols) == {"h2"}


async def test_a_profile_file_says_the_same(live: Live, tmp_path: Path) -> None:
    async with gate(tmp_path, live.stack.ports.temporal) as there:
        profile = tmp_path / "temporal.toml"
        names = ("server_ca_cert_path", "client_cert_path", "client_key_path")
        lines = [f'{name} = "{there.environment[f"TEMPORAL_TLS_{name.upper()}"]}"' for name in names]
        profile.write_text(
            "\n".join(["[profile.cloud]", f'address = "localhost:{there.port}"', "[profile.cloud.tls]", *lines])
        )
        asked = {"TEMPORAL_ADDRESS": "", "TEMPORAL_CONFIG_FILE": str(profile), "TEMPORAL_PROFILE": "cloud"}
        done = await dealwright(live, asked)
        assert (done.returncode, done.stdout.strip()) == (0, "0 search attributes registered."), done.stderr


@pytest.mark.parametrize("missing", ["TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_SERVER_CA_CERT_PATH"])
async def test_a_connection_that_fails_says_why_in_one_line(live: Live, tmp_path: Path, missing: str) -> None:
    async with gate(tmp_path, live.stack.ports.temporal) as there:
        gone = {missing, "TEMPORAL_TLS_CLIENT_KEY_PATH"} if "CLIENT" in missing else {missing}
        environment = {name: value for name, value in there.environment.items() if name not in gone}
        done = await dealwright(live, environment | {"TEMPORAL_TLS": "true"})
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Temporal does not answer" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_certificate_that_cannot_be_read_is_refused_at_the_start_naming_it(tmp_path: Path) -> None:
    environment = {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(tmp_path / "nowhere.pem")}
    with pytest.raises(ValidationError, match=r"TEMPORAL_.*nowhere\.pem"):
        Settings.model_validate({**KEYS, "temporal_environment": environment})


def test_blank_settings_are_none_and_a_key_is_sent_over_tls() -> None:
    blank = {"TEMPORAL_ADDRESS": "", "TEMPORAL_API_KEY": "", "TEMPORAL_TLS": ""}
    found = Settings.model_validate({**KEYS, "temporal_environment": blank}).temporal_connection
    assert found == {"target_host": "127.0.0.1:7233", "namespace": "default"}
    keyed = {"TEMPORAL_ADDRESS": "x.example:7233", "TEMPORAL_NAMESPACE": "deals", "TEMPORAL_API_KEY": "k"}
    found = Settings.model_validate({**KEYS, "temporal_environment": keyed}).temporal_connection
    assert (found["target_host"], found["namespace"], found.get("api_key"), found.get("tls")) == (
        "x.example:7233", "deals", "k", True,
    )  # fmt: skip
