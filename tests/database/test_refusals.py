"""Which errors of a database are transient: by driver codes, and by real databases."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, Error, connection

from django_retrytasks.database.refusals import has_transient_code
from django_retrytasks.lifecycle import Claim, ClaimInDoubt


class TestCodes:
    """Which of the drivers' codes mark a transient error."""

    @pytest.mark.parametrize(
        ("state", "transient"),
        [
            ("40001", True),  # could not serialize
            ("40P01", True),  # a deadlock
            ("53100", True),  # disk full
            ("53300", True),  # too many connections
            ("57014", True),  # canceled, as by statement_timeout
            ("57P01", True),  # being shut down
            ("55P03", True),  # lock_timeout
            ("25006", True),  # read-only
            ("58030", True),  # input or output failed
            ("55006", False),  # object in use
            ("25P02", False),  # the transaction is aborted
            ("23514", False),  # a check constraint
            ("22P05", False),  # a character that cannot be stored
            ("42P01", False),  # no such table
        ],
    )
    @pytest.mark.parametrize("name", ["sqlstate", "pgcode"])
    def test_of_postgresql(self, name: str, state: str, transient: bool) -> None:
        driver_error = Exception("as the driver words it")
        setattr(driver_error, name, state)

        assert has_transient_code(caused_by(driver_error)) is transient

    @pytest.mark.parametrize(
        ("number", "transient"),
        [
            (1021, True),  # disk full
            (1114, True),  # table full
            (1205, True),  # lock wait timeout
            (1213, True),  # deadlock
            (1290, True),  # read-only server
            (1792, True),  # read-only transaction
            (1836, True),  # read-only mode
            (1062, False),  # duplicate key
            (1146, False),  # no such table
            (4025, False),  # a check constraint
        ],
    )
    def test_of_mariadb(self, number: int, transient: bool) -> None:
        assert (
            has_transient_code(caused_by(Exception(number, "as the server words it"))) is transient
        )

    @pytest.mark.parametrize(
        ("code", "transient"),
        [
            (5, True),  # BUSY
            (5 | 2 << 8, True),  # BUSY_SNAPSHOT
            (6, True),  # LOCKED
            (8, True),  # READONLY
            (10 | 3 << 8, True),  # IOERR_WRITE
            (13, True),  # FULL
            (14, True),  # CANTOPEN
            (1, False),  # ERROR, such as no such table
            (19 | 1 << 8, False),  # CONSTRAINT_CHECK
            (26, False),  # NOTADB
        ],
    )
    def test_of_sqlite(self, code: int, transient: bool) -> None:
        driver_error = Exception("as the library words it")
        driver_error.sqlite_errorcode = code  # type: ignore[attr-defined]

        assert has_transient_code(caused_by(driver_error)) is transient

    def test_are_found_under_exceptions_of_ours(self) -> None:
        outer = ClaimInDoubt(Claim())
        outer.__cause__ = caused_by(Exception(1205, "as the server words it"))

        assert has_transient_code(outer)

    def test_are_looked_for_to_an_end_though_causes_go_round(self) -> None:
        error = ValueError("its own cause")
        error.__cause__ = error

        assert not has_transient_code(error)

    def test_are_not_seen_in_what_only_looks_like_one(self) -> None:
        assert not has_transient_code(Exception())
        assert not has_transient_code(Exception("1205"))
        assert not has_transient_code(Exception([1205]))


def caused_by(driver_error: Exception) -> DatabaseError:
    """Return what Django raises for a driver's exception."""
    error = DatabaseError(*driver_error.args)
    error.__cause__ = driver_error
    return error


WRITE = "DELETE FROM retrytasks_task WHERE 1 = 0"
PASSING: dict[str, list[tuple[str, ...]]] = {
    "postgresql": [
        ("SET default_transaction_read_only = on", WRITE),
        ("SET statement_timeout = 50", "SELECT pg_sleep(5)"),
    ],
    "mysql": [
        ("SET SESSION TRANSACTION READ ONLY", WRITE),
    ],
    "sqlite": [
        ("PRAGMA query_only = ON", WRITE),
        (
            "VACUUM",  # no free pages of earlier tests
            "PRAGMA max_page_count = 1",
            "CREATE TABLE filler AS SELECT zeroblob(5000000)",
        ),
    ],
}
LASTING = {
    "postgresql": ["SELECT 1/0", "SELECT * FROM nowhere", "SET nothing = 1"],
    "mysql": ["SELECT * FROM nowhere", "INSERT INTO retrytasks_task (id) VALUES (1)"],
    "sqlite": ["SELECT * FROM nowhere", "INSERT INTO retrytasks_task (id) VALUES (1)"],
}


@pytest.mark.django_db(transaction=True)
class TestDatabase:
    @pytest.mark.parametrize("statements", PASSING[connection.vendor])
    def test_refuses_for_a_while(self, statements: tuple[str, ...]) -> None:
        assert has_transient_code(error_of(*statements))

    @pytest.mark.parametrize("refused", LASTING[connection.vendor])
    def test_refuses_for_good(self, refused: str) -> None:
        assert not has_transient_code(error_of(refused))


def error_of(*statements: str) -> Error:
    """Return what the last of these statements raises."""
    *before, last = statements
    try:
        with connection.cursor() as cursor:
            for statement in before:
                cursor.execute(statement)
            with pytest.raises(Error) as caught:
                cursor.execute(last)
    finally:
        connection.close()
    return caught.value
