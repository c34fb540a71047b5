"""An application's tests of its limit: three exports in 30 days are free."""

import psycopg
import pytest


def identify(db, customer):
    db.execute("SELECT skene_identify(%s, %s)", [customer, f"{customer}@example.com"])


def export(db, customer="ada"):
    return db.execute("SELECT skene_consume(%s, 'export')", [customer]).fetchone()[0]


def use_up(db, customer="ada"):
    assert [export(db, customer) for _ in range(4)] == [True, True, True, False]


def travel(db, offset):
    """Move the gate's clock until the transaction ends."""
    db.execute("SELECT set_config('skene_gate.clock_offset', %s, true)", [offset])


# The same customer in every test: what the one before it used is gone.
@pytest.mark.parametrize("attempt", range(3))
def test_three_are_free(db, attempt):
    identify(db, "ada")
    use_up(db)


def test_free_again_after_31_days(db):
    identify(db, "ada")
    use_up(db)
    travel(db, "29d")
    assert not export(db)
    travel(db, "31d")
    use_up(db)


def test_the_next_test_begins_in_the_present(db):
    assert db.execute("SHOW skene_gate.clock_offset").fetchone() == ("0",)


def test_denied_with_the_decision(db):
    use_up(db)
    with pytest.raises(psycopg.Error) as denied:
        db.execute("SELECT skene_require('ada', 'export')")
    assert denied.value.sqlstate == "PT402"


def test_pro_is_unlimited(db):
    use_up(db)
    db.execute("SELECT skene_set_plan('ada', 'pro')")
    assert all(export(db) for _ in range(10))


# Two tests that commit the same, each as if it were the first.
@pytest.mark.parametrize("attempt", range(2))
def test_who_is_denied_is_asked_to_upgrade(committing, wait_for, attempt):
    identify(committing, "eve")
    use_up(committing, "eve")
    assert wait_for(
        committing, "SELECT to_address, subject FROM skene.mailbox WHERE user_id = 'eve'"
    ) == ("eve@example.com", "You have reached your export limit")
    assert committing.execute("SELECT count(*) FROM skene.prompts").fetchone() == (1,)


# Last: all the denials above whose customers rolled back prompt nobody. The worker looks at
# denials in turn, so once it prompts frank it has looked for ada in vain, and the minute it
# then waits for her passes on its clock.
def test_rolled_back_customers_are_not_prompted(database, committing, wait_for):
    with psycopg.connect(database) as db:
        identify(db, "ada")
        use_up(db)
        db.rollback()
    identify(committing, "frank")
    use_up(committing, "frank")
    wait_for(committing, "SELECT true FROM skene.mailbox WHERE user_id = 'frank'")
    try:
        committing.execute("ALTER DATABASE pytest_shop SET skene_gate.clock_offset = '2min'")
        wait_for(committing, "SELECT true FROM skene.worker_status WHERE denials_dropped > 0")
    finally:
        committing.execute("ALTER DATABASE pytest_shop RESET skene_gate.clock_offset")
    assert committing.execute("SELECT user_id FROM skene.prompts").fetchall() == [("frank",)]
