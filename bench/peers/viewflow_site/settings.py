import os

SECRET_KEY = os.environ["PEER_SECRET"]
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "viewflow",
    "viewflow.workflow",
    "viewflow_site",
]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "viewflow_site.views"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if "PG_PORT" in os.environ:
    DATABASES = {"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PG_NAME"], "USER": "postgres",
        "HOST": os.environ["PG_HOST"], "PORT": os.environ["PG_PORT"], "CONN_MAX_AGE": None,
    }}  # fmt: skip
else:
    pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    options = {"transaction_mode": "IMMEDIATE", "timeout": 30, "init_command": pragmas}
    DATABASES = {"default": {
        "ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DB_FILE"], "CONN_MAX_AGE": None, "OPTIONS": options,
    }}  # fmt: skip
