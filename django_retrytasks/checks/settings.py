"""Checks of the settings RETRYTASKS and TASKS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

from django.conf import settings
from django.core.checks import Error, Warning
from django.utils.module_loading import import_string

from django_retrytasks import conf
from django_retrytasks.alerts import mail_filter, rules, sinks
from django_retrytasks.policy import RetryPolicy, policy_options
from django_retrytasks.values import checked

from .common import Found, backend_policy, backends, problem_of, registered

LEAST_LEASE = 5.0
LONGEST_RETENTION = 100 * 366 * 86_400.0
POLICY_HINT = "Give options of RetryPolicy only, each within its range."
FINAL_STATUSES = tuple(conf.DEFAULT_RETENTION)


class Value(NamedTuple):
    """A key's check and hint: ``refuse`` takes name and value, and raises if the value is wrong.

    Messages about ``ALERTS`` never quote a value: it may be a secret.
    """

    refuse: checked.Check
    hint: str


def refuse_misfit(called: Any, *args: Any, **kwargs: Any) -> None:
    """Refuse an object that cannot be called with these arguments.

    Raises:
        TypeError: the object is not callable, or the arguments do not fit.
    """
    if not callable(called):
        raise TypeError("it is not callable")
    with suppress(ValueError):  # some built-in functions have no signature
        signature(called).bind(*args, **kwargs)


def _refuse_policy(name: str, value: Any) -> None:
    options = policy_options(checked.as_mapping(name, value), owner=name)
    with _about(name):
        RetryPolicy(**options)


def _refuse_around(name: str, value: Any) -> None:
    _refuse_callables(name, value, None)


def _refuse_receivers(name: str, value: Any) -> None:
    _refuse_callables(name, value, signal=None, sender=None, task=None, attempt=None)


def _refuse_callables(name: str, value: Any, *args: Any, **kwargs: Any) -> None:
    """Refuse other values than a list of dotted paths of callables that take these arguments."""
    for path in checked.as_texts(name, value):
        with _about(f'{name}: "{path}"'):
            refuse_misfit(import_string(path), *args, **kwargs)


def _refuse_alerts(name: str, value: Any) -> None:
    names = {conf.LOG}
    for index, entry in enumerate(checked.as_list(name, value)):
        with _about(f"{name}[{index}]"):
            sink = _sink(entry)
            sinks.check(sink)
            if sink.name in names:
                raise ValueError(f'"{sink.name}" is there already: give one of them another "name"')
            names.add(sink.name)


def _sink(entry: Any) -> conf.Sink:
    options = {"sink": entry} if isinstance(entry, str) else entry
    if not isinstance(options, Mapping):
        raise TypeError("it must be a dotted path or a dict")
    if not isinstance(options.get("sink"), str):
        raise TypeError('"sink" must be a dotted path')
    if not isinstance(options.get("name", ""), str):
        raise TypeError('"name" must be a string')
    return conf.Sink.from_entry(options)


def _refuse_rules(name: str, value: Any) -> None:
    for index, entry in enumerate(checked.as_list(name, value)):
        with _about(f"{name}[{index}]"):
            rules.check(entry)


def _refuse_site_url(name: str, value: Any) -> None:
    if value != "" and (checked.http_parts(value) is None or re.search(r"[\s?#]", value)):
        raise ValueError(
            f"{name} must be an http or https URL without a query or fragment, not {value!r}"
        )


def _refuse_retention(name: str, value: Any) -> None:
    for status, kept in checked.as_mapping(name, value).items():
        if status not in FINAL_STATUSES:
            raise ValueError(f'{name}: "{status}" is no final status')
        if kept is not None:
            checked.as_seconds(f'{name}["{status}"]', kept, most=LONGEST_RETENTION)


def _refuse_redact(name: str, value: Any) -> None:
    for pattern in checked.as_texts(name, value):
        with _about(f'{name}: "{pattern}" is no regular expression'):
            re.compile(pattern)


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Prefix errors of the body with a name."""
    try:
        yield
    except Exception as error:  # what a path leads to may raise anything when imported
        raise ValueError(f"{name}: {error}") from error


VALUES = {
    "POLICY": Value(_refuse_policy, POLICY_HINT),
    "LEASE": Value(
        partial(checked.as_seconds, least=LEAST_LEASE),
        "Give seconds or a timedelta, at least 5 s; the default is 60.",
    ),
    "SLICE": Value(
        checked.as_positive_seconds,
        "Give seconds or a timedelta, above 0; the default is 1.",
    ),
    "AROUND": Value(
        _refuse_around,
        "Give a list of dotted paths of callables that take (context) and return a context "
        "manager; [] means none.",
    ),
    "ON_FAILURE": Value(
        _refuse_receivers,
        "Give a list of dotted paths of callables that take (task, attempt, **kwargs).",
    ),
    "ALERTS": Value(
        _refuse_alerts,
        "Give a list of dotted paths of callables that take (alert), or of dicts with such a path "
        'as "sink" and its options. The log always reports; [] means the log only.',
    ),
    "ALERT_COOLDOWN": Value(
        checked.as_positive_seconds,
        "Give seconds or a timedelta, above 0; the default is 3600.",
    ),
    "ALERT_LIMIT": Value(
        checked.or_none(partial(checked.as_count, least=1)),
        "Give a whole number, 1 or more, or None for no limit; the default is 10.",
    ),
    "MAIL_EACH_FAILURE": Value(checked.as_bool, "Give True or False; the default is False."),
    "ALERT_RULES": Value(_refuse_rules, 'Give a list of dicts, each with "rule" and its options.'),
    "SITE_URL": Value(
        _refuse_site_url, 'Give a URL such as "https://shop.example", or "" if there is none.'
    ),
    "SENTRY": Value(checked.as_bool, "Give True or False; the default is True."),
    "OTEL": Value(checked.as_bool, "Give True or False; the default is True."),
    "RETENTION": Value(
        _refuse_retention,
        f"Give a dict of {', '.join(FINAL_STATUSES)} to seconds or a timedelta; None: for ever.",
    ),
    "REDACT": Value(_refuse_redact, "Give a list of regular expressions of argument names."),
}


@registered
def check_settings() -> Found:
    """Check the keys of RETRYTASKS and their values."""
    values = conf.raw()
    if not isinstance(values, Mapping):
        yield Error(
            f"RETRYTASKS must be a dict, not {values!r}.",
            hint=f"Its keys are: {', '.join(conf.NAMES)}.",
            id="retrytasks.E010",
        )
        return
    for key, value in values.items():
        if key not in conf.NAMES:
            yield Error(
                f'RETRYTASKS has the unknown key "{key}".',
                hint=checked.nearest(str(key), conf.NAMES),
                id="retrytasks.E009",
            )
        elif problem := problem_of(partial(VALUES[key].refuse, f'RETRYTASKS["{key}"]', value)):
            yield Error(problem, hint=VALUES[key].hint, id="retrytasks.E010")


@registered
def check_backends() -> Found:
    """Check the policies in TASKS: the backport does so only if it is an installed app."""
    if any(check_settings()):
        return
    for backend in backends():
        setting = f"TASKS[{backend.alias!r}]"
        if problem := problem_of(partial(backend_policy, backend)):
            yield Error(
                f"{setting}: {problem.removeprefix(f'{setting}: ')}",
                hint=POLICY_HINT,
                id="retrytasks.E011",
            )


@registered
def check_rules() -> Found:
    """Check that the retention covers the periods of the alert rules."""
    if any(check_settings()):
        return
    for index, entry in enumerate(conf.get().ALERT_RULES):
        for status, seconds in rules.Rule.from_entry(entry).looks_back().items():
            kept = conf.get().retention(status)
            if kept is not None and kept < seconds:
                yield Error(
                    f'RETRYTASKS["ALERT_RULES"][{index}] looks back {seconds:.15g} s, but '
                    f"{status} Tasks are kept for {kept:.15g} s.",
                    hint='Lower its "within", or raise '
                    f'RETRYTASKS["RETENTION"]["{status}"] to at least as much.',
                    id="retrytasks.E013",
                )


@registered
def check_mail() -> Found:
    """Check that alerts by mail reach somebody."""
    if settings.DEBUG or any(check_settings()):
        return
    if mail_filter.alerts_reach_nobody():
        yield Warning(mail_filter.NOBODY, hint=mail_filter.NOBODY_HINT, id="retrytasks.W014")
