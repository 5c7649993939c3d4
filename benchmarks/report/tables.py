"""The generated part of the page: what ran where, a table for each section, what each peer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.measuring.servers import POSTGRES
from benchmarks.peers.roster import BY_NAME, OURS

from .results import Results, Row, Section

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
COSTS = {
    "python": "Python µs",
    "database": "PostgreSQL µs",
    "statements": "statements",
    "commits": "commits",
    "wal": "WAL bytes",
}
# Cases whose tables tell what each peer keeps and loses.
COMPARED = ("drain", "drain-5ms", "drain-50ms", "fail")


def replaced(page: str, results: Results) -> str:
    """Return the page with its generated part made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{generated(results)}\n\n{END}{after}"


def generated(results: Results) -> str:
    parts = [
        _conditions(results),
        _quicker(results),
        *(_section(section) for section in results.sections),
        "### How each is set up\n\n" + _set_up(results),
    ]
    return "\n\n".join(parts)


def _conditions(results: Results) -> str:
    machine = ", ".join(results.machine.values())
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return (
        f"Measured on {results.date}: {machine}.\n"
        f"Medians of {results.rounds}; a drain takes about {results.seconds:g} s; "
        f"the crowd is {results.crowd:,} Tasks.\n"
        f"Versions: {versions}."
    )


def _quicker(results: Results) -> str:
    """Say where a peer was quicker than we were."""
    found: dict[str, list[str]] = {}
    for section in results.sections:
        for row in section.rows:
            ratio = section.ratio(row) if section.reference == OURS else None
            if ratio is not None and ratio < 1:
                found.setdefault(row.title, []).append(f"{section.title} ({section.store})")
    lines = [f"- {title}: {'; '.join(where)}" for title, where in found.items()]
    return "In this run these were quicker than django-retrytasks:\n\n" + "\n".join(
        lines or ["- none"]
    )


def _section(section: Section) -> str:
    title = f"{section.title[0].upper()}{section.title[1:]}"
    costs = [name for name in COSTS if any(row.cost(name) is not None for row in section.rows)]
    is_compared = section.case in COMPARED
    head = [
        "",
        "median /s",
        "lowest to highest",
        _ratio_head(section),
        *(COSTS[name] for name in costs),
        *(("keeps", "a worker's `kill -9` loses") if is_compared else ()),
    ]
    rows = (
        [*_rates(section, row), *_costs(row, costs), *(_words(row) if is_compared else ())]
        for row in section.rows
    )
    return f"### {title}, {section.store}\n\n{table(head, rows)}"


def _ratio_head(section: Section) -> str:
    if section.reference == OURS:
        return "django-retrytasks is"
    [title] = [row.title for row in section.rows if row.name == section.reference] or ["?"]
    return f"of “{title}”"


def _rates(section: Section, row: Row) -> Sequence[str]:
    low, high = row.range
    name = f"{row.title}{_faults(row)}"
    return name, number(row.median), f"{number(low)} to {number(high)}", _ratio(section, row)


def _costs(row: Row, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        amount = row.cost(name)
        yield "" if amount is None else number(amount)


def _words(row: Row) -> Sequence[str]:
    return BY_NAME[row.name].keeps, BY_NAME[row.name].loses


def _ratio(section: Section, row: Row) -> str:
    ratio = section.ratio(row)
    if ratio is None or row.name == section.reference:
        return "1" if ratio else ""
    if section.reference == OURS:
        return f"{number(ratio)} x as quick"
    return number(1 / ratio)


def _faults(row: Row) -> str:
    faults = [
        f"lost {row.lost}" * bool(row.lost),
        f"doubled {row.doubled}" * bool(row.doubled),
        f"without a row {row.unkept}" * (row.unkept > 0),
    ]
    found = ", ".join(each for each in faults if each)
    return f" (**{found}**)" if found else ""


def _set_up(results: Results) -> str:
    names = {row.name for section in results.sections for row in section.rows}
    rows = ([peer.title, peer.setup] for name, peer in BY_NAME.items() if name in names)
    return table(["", "settings"], rows)


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    rule = ["---", *("--:" if _is_number(name) else "---" for name in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _is_number(head: str) -> bool:
    return head in COSTS.values() or head == "median /s"


def number(value: float) -> str:
    """Return it with three digits that count: 12,345, 123, 12.3, 1.23."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def drained(results: Results) -> Section | None:
    """Return the section that the plot shows."""
    found = [one for one in results.sections if (one.case, one.store) == ("drain", POSTGRES)]
    return found[0] if found else None
