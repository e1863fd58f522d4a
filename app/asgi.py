"""The web process: API and console in one application. `uvicorn --factory app.asgi:application`."""

from fastapi import FastAPI

from api.app import create
from app import logs
from app.container import build, freeze_garbage
from app.settings import settings
from console.app import mount

CLICK_SECONDS = 2.0
"""Nobody who clicks waits longer for a database server that is silent."""


def application() -> FastAPI:
    logs.configure(settings().json_logs)
    container = build(settings(), database_seconds=CLICK_SECONDS)
    app = create(container)
    mount(app, container)
    freeze_garbage()
    return app
