"""The least that Django needs; host, port and user come from PGHOST, PGPORT and PGUSER."""

SECRET_KEY = "for tests only"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "TEST": {"NAME": "test_shop"},
    }
}
