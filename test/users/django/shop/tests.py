"""
The shop's own tests. One class after another rolls back what it did, in one of several
processes with a database each; the last one commits, to see the mail.
"""

import time

from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from shop.models import Customer, Export, LimitReached


def sql(query, *values):
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchone()


def travel(offset):
    """Move the gate's clock until the transaction ends."""
    sql("SELECT set_config('skene_gate.clock_offset', %s, true)", offset)


class ExportCase(TestCase):
    def setUp(self):
        self.ada = Customer.objects.create(email="ada@example.com")

    def export(self, times=1):
        for _ in range(times):
            Export.start(self.ada)

    def use_up(self):
        self.export(times=3)
        with self.assertRaises(LimitReached):
            self.export()


class LimitTests(ExportCase):
    def test_three_exports_are_free(self):
        self.use_up()
        self.assertEqual(Export.objects.count(), 3)

    def test_begins_afresh(self):
        self.assertEqual(sql("SELECT count(*) FROM skene.usage_totals"), (0,))
        self.use_up()

    def test_customers_do_not_share(self):
        self.use_up()
        Export.start(Customer.objects.create(email="bob@example.com"))


class NextMonthTests(ExportCase):
    def test_still_denied_after_29_days(self):
        self.use_up()
        travel("29d")
        with self.assertRaises(LimitReached):
            self.export()

    def test_free_again_after_31_days(self):
        self.use_up()
        travel("31d")
        self.use_up()

    def test_begins_in_the_present(self):
        self.assertEqual(sql("SHOW skene_gate.clock_offset"), ("0",))


class UpgradeTests(ExportCase):
    def test_pro_is_unlimited(self):
        self.use_up()
        sql("SELECT skene_set_plan(%s, 'pro')", self.ada.id)
        self.export(times=10)

    def test_a_trial_ends(self):
        sql("SELECT skene_set_plan(%s, 'pro', now() + interval '14 days')", self.ada.id)
        self.export(times=10)
        travel("15d")
        with self.assertRaises(LimitReached):
            self.export()


class FailedExportTests(ExportCase):
    def test_a_failed_export_is_not_counted(self):
        for _ in range(5):
            with self.assertRaises(ZeroDivisionError):
                with transaction.atomic():
                    self.export()
                    1 / 0
        self.use_up()


class MailTests(TransactionTestCase):
    """Commits: the worker sees, and mails, only customers that exist."""

    def tearDown(self):
        sql("SELECT skene_reset()")

    def test_who_is_denied_is_asked_to_upgrade(self):
        ada = Customer.objects.create(email="ada@example.com")
        for _ in range(3):
            Export.start(ada)
        with self.assertRaises(LimitReached):
            Export.start(ada)
        self.assertEqual(
            self.mail_to(ada), ("ada@example.com", "You have reached your export limit")
        )

    def mail_to(self, customer):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            mail = sql(
                "SELECT to_address, subject FROM skene.mailbox WHERE user_id = %s",
                str(customer.id),
            )
            if mail:
                return mail
            time.sleep(0.05)
        self.fail("no mail")
