"""Brings htmx out of a package on the index into `console/static/vendor`, so that no third-party file is committed."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BringHtmx(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        vendor = Path(self.root, "console/static/vendor")
        vendor.mkdir(parents=True, exist_ok=True)
        with (files("django_htmx") / "static/django_htmx/htmx-2.min.js").open("rb") as source:
            (vendor / "htmx.min.js").write_bytes(source.read())
        build_data["artifacts"].append("console/static/vendor/*")
