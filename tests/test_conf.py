"""The RETRYTASKS setting, read at use."""

from datetime import timedelta
from typing import Any

import pytest

from django_retrytasks import conf


def test_without_the_setting_the_defaults_hold(settings: Any) -> None:
    del settings.RETRYTASKS

    values = conf.get()

    assert (values.lease, values.slice) == (60.0, 1.0)
    assert values.ALERTS == ("django_retrytasks.alerts.mail_admins",)
    assert [values.retention(status) for status in ("SUCCEEDED", "FAILED", "DISCARDED")] == [
        7 * 86_400.0,
        90 * 86_400.0,
        30 * 86_400.0,
    ]


@pytest.mark.parametrize("given", [None, {}])
def test_an_empty_setting_is_as_good_as_none(settings: Any, given: Any) -> None:
    settings.RETRYTASKS = given

    assert conf.get() == conf.Settings()


def test_a_change_holds_at_once(settings: Any) -> None:
    settings.RETRYTASKS = {"LEASE": 5}
    before = conf.get().lease

    settings.RETRYTASKS = {"LEASE": timedelta(minutes=1)}

    assert (before, conf.get().lease) == (5.0, 60.0)


def test_retention_is_per_status_and_none_is_for_ever(settings: Any) -> None:
    settings.RETRYTASKS = {"RETENTION": {"SUCCEEDED": timedelta(hours=1), "FAILED": None}}

    values = conf.get()

    kept = [values.retention(status) for status in ("SUCCEEDED", "FAILED", "DISCARDED")]
    assert kept == [3600.0, None, 30 * 86_400.0]


def test_unknown_keys_are_left_to_the_system_check(settings: Any) -> None:
    settings.RETRYTASKS = {"LEESE": 5}

    assert conf.get().lease == 60.0
    assert conf.raw() == {"LEESE": 5}
