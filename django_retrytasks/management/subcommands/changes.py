"""The operators' verbs, and the changes of failure groups and operations by their ids."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from django.core.management import CommandError, CommandParser
from django.utils.translation import override

from django_retrytasks.lifecycle import groups
from django_retrytasks.management import arguments
from django_retrytasks.management.frame import Lines, Subcommand
from django_retrytasks.management.login import login
from django_retrytasks.management.names import refuse_unknown
from django_retrytasks.operators import operations, selections
from django_retrytasks.operators.verbs import VERBS, Verb, refused

EXAMPLE_ID = "01a20694-32d3-76d4-881f-2aeadd356400"
# Options of the verbs that only an operation heeds, by their names in its start.
OF_SELECTIONS = {"per_minute": "--per-minute", "canary": "--canary"}
GROUP_ID = "Fingerprint of a failure group, as listed by failures."


def _verb(verb: Verb) -> Subcommand:
    name = verb.slug.replace("_", "-")
    wait = " --for 1h" if "countdown" in verb.asks else ""
    return Subcommand(
        name=name,
        help=str(verb.meaning),
        do=partial(_change_tasks, verb),
        examples=(
            f"{name} {EXAMPLE_ID}{wait}",
            f"{name} --task orders.tasks.send --since 24h{wait} --dry-run",
            f"{name} --queue emails{wait} --per-minute 600 --reason 'asked by support'",
        ),
        arguments=partial(_verb_arguments, verb),
    )


def _verb_arguments(verb: Verb, parser: CommandParser) -> None:
    text = "Id of a Task, as in the log."
    parser.add_argument("ids", nargs="*", type=arguments.uuid_of, metavar="id", help=text)
    arguments.add_selection(parser)
    text = "Only print the number of Tasks; of a selection at most 100,000 are counted."
    parser.add_argument("--dry-run", action="store_true", help=text)
    text = "The most Tasks a minute. Default: no limit."
    parser.add_argument("--per-minute", type=int, metavar="COUNT", help=text)
    if "canary" in verb.asks:
        text = "Tasks to run first; the others follow only if all of these succeed. Default: 0."
        parser.add_argument("--canary", type=int, metavar="COUNT", help=text)
    if "countdown" in verb.asks:
        text = "Time from now until the Tasks are due: seconds, or such as 30m, 1h."
        parser.add_argument(
            "--for",
            dest="countdown",
            type=arguments.seconds,
            metavar="SECONDS",
            required=True,
            help=text,
        )
    arguments.add_reason(parser)


def _change_tasks(verb: Verb, ids: Iterable[uuid.UUID], **options: Any) -> Lines:
    selection = arguments.selection_of(options)
    if bool(selection) == bool(ids):
        raise CommandError("give either ids or a selection, such as --group", returncode=2)
    wait = {"countdown": options["countdown"]} if "countdown" in verb.asks else {}
    try:
        if ids:
            return _change_by_ids(verb, ids, wait, **options)
        refuse_unknown(selection.get("queue_name"), selection.get("name"))
        count = operations.count(verb.name, selections.as_of_now(selection))
        if not count:
            raise CommandError(f"no Task to be {verb.act.done} matches")
        if options["dry_run"]:
            return [f"{count} would be {verb.act.done}"]
        given = [key for key in OF_SELECTIONS if options.get(key) is not None]
        shared = {key: options[key] for key in (*given, "reason")}
        begun = operations.start(verb.name, selection, by=login(), **wait, **shared)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
    return [f"operation {begun.pk} began: {begun.matched_count} to be {verb.act.done}"]


def _change_by_ids(
    verb: Verb, ids: Iterable[uuid.UUID], wait: Mapping[str, float], dry_run: bool, **options: Any
) -> Lines:
    _refuse_options(verb, options)
    skips = f"not {' or '.join(verb.act.changes)}, or no such Task"
    count: Callable[..., int] = verb.act.count
    act: Callable[..., int] = verb.act
    if dry_run:
        words = (f"would be {verb.act.done}", "would be skipped")
        return _changed(partial(count, **wait), ids, *words, skips)
    signed = partial(act, **wait, **verb.signature(login(), options["reason"]))
    return _changed(signed, ids, verb.act.done, "skipped", skips, partial(_refusals, verb))


def _refuse_options(verb: Verb, options: Mapping[str, Any]) -> None:
    """Refuse the options that mean nothing beside ids, rather than leave them out."""
    for name, option in OF_SELECTIONS.items():
        if options.get(name) is not None:
            raise CommandError(f"{option} needs a selection, such as --group", returncode=2)
    if options["reason"] and not verb.is_signed:
        raise CommandError(
            f"--reason needs a selection, such as --group: Tasks {verb.act.done} by their ids keep "
            "no reason",
            returncode=2,
        )


def _change(
    act: Callable[..., int], done: str, skips: str, ids: Iterable[uuid.UUID], **options: Any
) -> Lines:
    until = {"until": options["until"]} if "until" in options else {}
    return _changed(partial(act, **until), ids, done, "skipped", skips)


def _changed(
    act: Callable[[Iterable[uuid.UUID]], int],
    ids: Iterable[uuid.UUID],
    word: str,
    skipped_word: str,
    skips: str,
    refusals: Callable[[Iterable[uuid.UUID]], Iterable[str]] = lambda ids: (),
) -> Lines:
    distinct = set(ids)
    done = act(distinct)
    skipped = len(distinct) - done
    report = f"{done} {word}, {skipped} {skipped_word}" + (f" ({skips})" if skipped else "")
    lines = [report, *(refusals(distinct) if skipped else ())]
    if not done:
        raise CommandError("\n".join(lines))
    return lines


def _refusals(verb: Verb, ids: Iterable[uuid.UUID]) -> Iterable[str]:
    """Return a line for each Task that does not change since another holds its unique key."""
    for pk, holder in refused(verb, ids).items():
        yield f"{pk} is not {verb.act.done}: Task {holder} holds its unique key"


def _stop(ids: Iterable[uuid.UUID]) -> int:
    return sum(operations.stop(pk, f"by {login()}") for pk in ids)


def _group_ids(parser: CommandParser) -> None:
    arguments.add_ids(parser, GROUP_ID)


def _mute_arguments(parser: CommandParser) -> None:
    arguments.add_ids(parser, GROUP_ID)
    text = "Time until the groups alert again: seconds, or such as 8h. Default: until reopened."
    parser.add_argument("--for", dest="until", type=arguments.until, metavar="SECONDS", help=text)


def _stop_arguments(parser: CommandParser) -> None:
    arguments.add_ids(parser, "Id of an operation, as listed by operations.")


NO_GROUP = "no such group"

with override(None):  # in English, as the rest of the command
    _VERBS = tuple(map(_verb, VERBS.values()))

SUBCOMMANDS = (
    *_VERBS,
    Subcommand(
        name="mute",
        help="Stop the alerts of failure groups; their failures are still counted.",
        do=partial(_change, groups.mute, "muted", NO_GROUP),
        examples=(f"mute {EXAMPLE_ID}", f"mute {EXAMPLE_ID} --for 8h"),
        arguments=_mute_arguments,
    ),
    Subcommand(
        name="resolve",
        help="Mark failure groups as fixed; the next failure opens a group again, as a regression.",
        do=partial(_change, groups.resolve, "resolved", NO_GROUP),
        examples=(f"resolve {EXAMPLE_ID}",),
        arguments=_group_ids,
    ),
    Subcommand(
        name="reopen",
        help="Let muted or resolved failure groups alert again.",
        do=partial(_change, groups.reopen, "opened", NO_GROUP),
        examples=(f"reopen {EXAMPLE_ID}",),
        arguments=_group_ids,
    ),
    Subcommand(
        name="stop",
        help="Stop operations; finished changes stay.",
        do=partial(_change, _stop, "stopped", "over already, or no such operation"),
        examples=(f"stop {EXAMPLE_ID}",),
        arguments=_stop_arguments,
    ),
)
