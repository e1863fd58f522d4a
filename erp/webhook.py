"""Any integration platform: CloudEvents, signed as Standard Webhooks say. It answers at once, or later by a callback.

It has nothing to look orders up in: whoever receives tells messages apart by `webhook-id`, which is the same again."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event, to_structured_event
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.v1.event import CloudEvent
from pydantic import ValidationError
from standardwebhooks import Webhook as Signer
from standardwebhooks import WebhookVerificationError

from erp.port import Answer, Document, ErpError, Outcome, Refused, Report, Unavailable, Unknown, WriteOnlyErp

SENT = {
    "order": "dealwright.order.placed",
    "change": "dealwright.order.changed",
    "cancel": "dealwright.order.cancelled",
}
TOLD = "dealwright.order."
"""What a callback's type begins with; the rest is the kind of report."""
SOURCE = "dealwright"
VERDICTS = (400, 409, 410, 422)
MOST_WORDS = 1_000


class Forged(Exception):
    """A callback that nobody vouches for: its signature is wrong, missing, or too old."""


class Webhook(WriteOnlyErp):
    batch = 1

    def __init__(self, url: str, secret: str, seconds: float = 20) -> None:
        self._url = url
        self._signer = Signer(secret)
        self._http = httpx.AsyncClient(timeout=seconds, follow_redirects=False)

    async def put(self, documents: Sequence[Document]) -> list[Outcome]:
        return [await self._outcome(document) for document in documents]

    async def _outcome(self, document: Document) -> Outcome:
        try:
            return await self._post(document)
        except ErpError as trouble:
            return trouble

    async def _post(self, document: Document) -> Answer:
        told = {"customer_id": document.customer, "version": document.version, **document.body}
        about = {"id": document.key, "source": SOURCE, "type": SENT[document.kind], "subject": document.order}
        message = to_structured_event(CloudEvent({**about, "time": datetime.now(UTC)}, told))
        try:
            answer = await self._http.post(self._url, content=message.body, headers=self._signed(document.key, message))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unavailable(f"{type(error).__name__}: nobody answers at the ERP's address") from None
        except httpx.HTTPError as error:
            raise Unknown(f"{type(error).__name__}: it was sent, and no answer came") from None
        return _read(answer)

    def _signed(self, id: str, message: HTTPMessage) -> dict[str, str]:
        now = datetime.now(UTC)
        signature = self._signer.sign(id, now, message.body.decode())
        return {
            **message.headers,
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }


def _read(answer: httpx.Response) -> Answer:
    """What the answer means. A verdict is JSON: pages of a gateway on the way say nothing of the order."""
    told = _object(answer)
    if answer.status_code == 202:
        return Answer(later=True)
    if answer.is_success and (told is not None or not answer.content):
        reference = (told or {}).get("reference", "")
        if not isinstance(reference, str | int):
            raise Unknown("the ERP's answer holds a reference that is no text")
        return Answer(reference=str(reference)[:100])
    if answer.is_success:
        raise Unknown(f"the ERP answered {answer.status_code} with something that is no JSON object")
    if answer.status_code in VERDICTS and told is not None:
        words = next((told[name] for name in ("reason", "detail", "message", "title") if told.get(name)), "no reason")
        raise Refused(str(words)[:MOST_WORDS])
    raise Unavailable(f"the ERP answered {answer.status_code}")


def _object(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        told = answer.json()
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def callback(secret: str, body: bytes, headers: Mapping[str, str]) -> Report:
    """What a signed callback reports. Raises Forged, or ValueError on what cannot be read."""
    try:
        Signer(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError) as error:  # a signature that is no base64 is a plain ValueError
        raise Forged(str(error) or "the signature cannot be read") from None
    try:
        event = from_structured_event(HTTPMessage({"content-type": "application/cloudevents+json"}, body))
        data = event.get_data()
        kind = event.get_type().removeprefix(TOLD)
        return Report.model_validate(
            {
                **(data if isinstance(data, dict) else {}),
                "id": event.get_id(),
                "kind": kind,
                "order": event.get_subject(),
            }
        )
    except (BaseCloudEventException, ValidationError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from None
