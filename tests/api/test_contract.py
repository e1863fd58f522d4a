"""Whatever anybody sends, the API answers as its own description says."""

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from api.app import create
from domain.people import Person, Role
from services.imports.samples import SYSTEM
from tests.conftest import Live, make_bench

DESCRIPTION = create(make_bench("sqlite:///nowhere.db").container).openapi()
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION).exclude(path_regex="^/(readyz|metrics)")
EVERY_ROLE = Person(id="everybody", name="Everybody", roles=tuple(Role))


@pytest.fixture(scope="module")
async def token(live: Live) -> str:
    await live.container.people.put(SYSTEM, EVERY_ROLE, None)
    return live.container.access.token(EVERY_ROLE)


def described(path: str, method: str) -> Any:
    """A test of one operation."""

    @pytest.mark.e2e
    @SCHEMA.include(path=path, method=method).parametrize()
    @settings(max_examples=10, suppress_health_check=list(HealthCheck))
    def test(case: schemathesis.Case, live: Live, token: str) -> None:
        answer = case.call(base_url=live.stack.api_url, headers={"Authorization": f"Bearer {token}"})
        checks = schemathesis.checks
        case.validate_response(
            answer,
            checks=[
                checks.not_a_server_error,
                checks.status_code_conformance,
                checks.content_type_conformance,
                checks.response_schema_conformance,
            ],
        )

    return test


OPERATIONS = [(found.ok().path, found.ok().method) for found in SCHEMA.get_all_operations()]
for path, method in OPERATIONS:  # each has a name of its own, by which tests are divided among processes
    name = re.sub(r"[^a-z0-9]+", "_", f"{method} {path}".lower()).strip("_")
    globals()[f"test_every_answer_is_as_described_{name}"] = described(path, method)


def test_every_operation_has_its_test() -> None:
    assert len([name for name in globals() if name.startswith("test_every_answer_is_as_described_")]) == len(OPERATIONS)
    assert len(OPERATIONS) > 100
