import os

SECRET_KEY = os.environ["PEER_SECRET"]
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "viewflow", "viewflow.workflow",
    "viewflow_site",
]  # fmt: skip
MIDDLEWARE = [  # viewflow asks for them
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "viewflow_site.views"
USE_TZ = True
MIGRATION_MODULES = {"viewflow_site": "peer_migrations"}  # made anew for each run, beside its database
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
