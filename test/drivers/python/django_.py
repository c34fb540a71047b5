"""Django's ORM over psycopg 3."""

import contextlib
import re
import urllib.parse

import django
from django.conf import settings
from django.db import connections, models, transaction
from django.db.models import F, Func, Value

import contract

url = urllib.parse.urlsplit(contract.URL)
where = dict(urllib.parse.parse_qsl(url.query))
database = {"ENGINE": "django.db.backends.postgresql", "NAME": url.path.lstrip("/"),
            "USER": url.username, "HOST": where["host"], "PORT": where["port"]}
# Django has a connection for each thread and alias: a second alias for a second one
settings.configure(DATABASES={"default": database, "second": dict(database)},
                   INSTALLED_APPS=[], USE_TZ=True)
django.setup()


class Project(models.Model):
    owner = models.TextField()

    class Meta:
        app_label = "drivers"
        db_table = "projects"


class Allows(Func):
    function = "skene_allows"
    output_field = models.BooleanField()


class Consume(Func):
    function = "skene_consume"
    output_field = models.BooleanField()


class Session:
    def __init__(self, alias):
        self.alias = alias

    def all(self, sql, *parameters):
        with connections[self.alias].cursor() as cursor:
            cursor.execute(re.sub(r"\$\d", "%s", sql), parameters)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def one(self, sql, *parameters):
        return self.all(sql, *parameters)[0]

    def transaction(self):
        return transaction.atomic(using=self.alias)


class Django(contract.Driver):
    version = django.__version__
    note = ("`skene_allows` works as a `Func` with `output_field = BooleanField()` in `filter()`. "
            "`skene_consume` only in `annotate()`, and never filter by that annotation: Django "
            "repeats the call in WHERE, which counts twice. "
            "`exception.__cause__` has `sqlstate` and `diag.message_detail`. Prepared statements "
            "are off unless you ask for them.")

    def __init__(self):
        self.free = ["second", "default"]

    @contextlib.contextmanager
    def session(self):
        alias = self.free.pop()
        try:
            yield Session(alias)
        finally:
            self.free.append(alias)

    def error(self, exception):
        return exception.__cause__.sqlstate, exception.__cause__.diag.message_detail

    def orm(self, customer):
        project = Project.objects.create(owner=customer)
        mine = Project.objects.filter(pk=project.pk)
        contract.same(mine.filter(Allows(F("owner"), Value("export"))).count(), 1)
        counted = mine.annotate(counted=Consume(F("owner"), Value("export"), Value(3)))
        contract.same([counted.get().counted for _ in range(2)], [True, False])
        contract.same(mine.filter(Allows(F("owner"), Value("export"))).count(), 0)


if __name__ == "__main__":
    contract.run(Django())
