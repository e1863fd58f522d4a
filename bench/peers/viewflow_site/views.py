"""The same API as the other peer, over the flow."""

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from functools import wraps
from typing import Any

import jwt
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from viewflow.workflow import STATUS
from viewflow.workflow.models import Task

from .flows import QuoteFlow
from .models import AuditEntry, Quote


def signed_in(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @wraps(view)
    def checked(request: HttpRequest, *given: Any, **named: Any) -> HttpResponse:
        try:
            token = request.headers["Authorization"].removeprefix("Bearer ")
            name = jwt.decode(token, settings.SECRET_KEY, algorithms=["HS256"])["sub"]
            request.user = User.objects.get(username=name)
        except (jwt.PyJWTError, KeyError, User.DoesNotExist):
            return HttpResponse(status=401)
        return view(request, *given, **named)

    return checked


@signed_in
def put(request: HttpRequest, id: str) -> HttpResponse:
    body = json.loads(request.body)
    lines = [
        {n: Decimal(line.get(n, "0")) for n in ("quantity", "list_price", "discount_percent")} for line in body["lines"]
    ]
    if (body["id"], body["owner"]) != (id, request.user.username) or any(line["quantity"] <= 0 for line in lines):
        return HttpResponse(status=403)
    total = sum((n["quantity"] * n["list_price"] * (100 - n["discount_percent"]) / 100 for n in lines), Decimal(0))
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    with transaction.atomic():
        known = Quote.objects.select_for_update().filter(id=id).first()
        if known and (known.owner_id != request.user.pk or known.status != "draft"):
            return HttpResponse(status=409)
        quote = known or Quote(id=id, owner=request.user)
        quote.status, quote.version, quote.digest, quote.net_total, quote.body = (
            "draft",
            quote.version + 1,
            digest,
            total,
            body,
        )
        quote.save(force_insert=known is None)
        AuditEntry.objects.create(quote=quote, actor=request.user.username, verb="put", facts={"digest": digest})
    return JsonResponse({"digest": digest, "version": quote.version})


@signed_in
def submit(request: HttpRequest, id: str) -> HttpResponse:
    with transaction.atomic():
        quote = Quote.objects.select_for_update().filter(id=id, owner=request.user).first()
        if quote is None or quote.status != "draft":
            return HttpResponse(status=409)
        quote.status = "in_approval"
        quote.save(update_fields=["status"])
        QuoteFlow.start.run(quote=quote)
        AuditEntry.objects.create(quote=quote, actor=request.user.username, verb="submit", facts={})
    return JsonResponse({"status": quote.status})


@signed_in
def rounds(request: HttpRequest, id: str) -> HttpResponse:
    """A later step has no task before it is asked."""
    tasks = Task.objects.filter(process__quoteapproval__quote_id=id, flow_task_type="HUMAN")
    found = [{"rule": task.flow_task.name, "id": task.pk, "status": task.status} for task in tasks]
    return JsonResponse([{"round": {"approvals": found}}], safe=False)


@signed_in
def approve(request: HttpRequest, id: int) -> HttpResponse:
    decision = json.loads(request.body)
    process = Task.objects.filter(pk=id).values_list("process_id", flat=True).first()
    if process is None:
        return HttpResponse(status=404)
    with QuoteFlow.lock(process):
        task = QuoteFlow.task_class._default_manager.select_related("process").get(pk=id)
        activation = task.flow_task.activation_class(task)
        quote = activation.process.quote
        if task.owner_id != request.user.pk:
            return HttpResponse(status=403)
        if task.status != STATUS.ASSIGNED or decision["digest"] != quote.digest:
            return HttpResponse(status=409)
        activation.start(request)
        activation.execute()
        AuditEntry.objects.create(quote=quote, actor=request.user.username, verb="approve", facts={"task": id})
    return JsonResponse({"status": "approved"})


urlpatterns = [
    path("v1/quotes/<str:id>", put), path("v1/quotes/<str:id>/submit", submit), path("v1/quotes/<str:id>/rounds", rounds),
    path("v1/approvals/<int:id>/approve", approve),
]  # fmt: skip
