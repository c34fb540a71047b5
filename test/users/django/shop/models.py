"""A shop that gates its exports: three in 30 days are free."""

from django.db import connection, models, transaction


class LimitReached(Exception):
    pass


class Customer(models.Model):
    email = models.EmailField()

    def save(self, **kwargs):
        with transaction.atomic():
            super().save(**kwargs)
            with connection.cursor() as cursor:
                cursor.execute("SELECT skene_identify(%s, %s)", [self.id, self.email])


class Export(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)

    @classmethod
    def start(cls, customer):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT skene_consume(%s, 'export')", [customer.id])
            if cursor.fetchone() != (True,):
                raise LimitReached
            return cls.objects.create(customer=customer)
