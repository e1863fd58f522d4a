"""The web process: API and console in one application. `uvicorn --factory web:application`."""

from fastapi import FastAPI

import logs
from api.app import create
from composition import build, ready
from console.app import mount
from settings import settings

CLICK_SECONDS = 2.0
"""Nobody who clicks waits longer for a database server that is silent."""


def application() -> FastAPI:
    logs.configure(settings().json_logs)
    house = build(settings(), database_seconds=CLICK_SECONDS)
    app = create(house)
    mount(app, house)
    ready()
    return app
