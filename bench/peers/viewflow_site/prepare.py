"""An empty database with the four people of the bench."""

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402

call_command("makemigrations", "viewflow_site", verbosity=0)
call_command("migrate", verbosity=0)
for name in ("rita", "dora", "fabio", "lara"):
    User.objects.create(username=name, email=f"{name}@example.com")
