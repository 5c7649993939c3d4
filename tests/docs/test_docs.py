"""The README and the documentation are true: their code runs, and nothing public is left out."""

from __future__ import annotations

import doctest
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import tomllib
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import django
import pytest
from django.apps import apps
from django.core import mail
from django.db.models import Model
from django.dispatch import Signal
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from pytest_django import Settings
from standardwebhooks import Webhook

import django_retrytasks
from django_retrytasks import (
    RetryPolicy,
    RetryTask,
    RetryTaskContext,
    conf,
    exceptions,
    signals,
    testing,
)
from django_retrytasks.alerts.rules import Rule
from django_retrytasks.alerts.sinks import check
from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.conf import Sink
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.tasks.options import TaskOptions
from django_retrytasks.values.contract import task_backends
from django_retrytasks.worker import run
from tests.support.cluster import wait_for
from tests.support.http_receiver import receiving
from tests.support.servers import run_once

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
# The name of the cluster in tests/settings.py.
KEY = "retrytasks-tests"
# Their code runs in tests of their own.
APART = (DOCS / "tutorial" / "first-task.md", DOCS / "how-to" / "testing.md")

FENCE = re.compile(
    r"(?P<no_run><!-- no-run: [^\n]+ -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
FILE = re.compile(r"# (?P<path>[\w/]+)\.py\b")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
NAMED = re.compile(r"^(?:#+ |\| ?)(?P<names>`[^|\n]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block of a page."""

    language: str
    code: str
    line: int
    is_run: bool

    @property
    def path(self) -> str:
        """Return the module path that its first line names, such as ``orders.tasks``, or ""."""
        named = FILE.match(self.code)
        return named["path"].replace("/", ".") if named else ""


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            language=found["language"],
            code=textwrap.dedent(found["code"]),
            line=text.count("\n", 0, found.start("code")) + 1,
            is_run=not found["no_run"],
        )
        for found in FENCE.finditer(text)
    ]


def documented(*pages: str) -> set[str]:
    """Return the names that have a heading or a table's line of their own on reference pages."""
    texts = [(REFERENCE / f"{page}.md").read_text() for page in pages]
    lines = [found["names"] for text in texts for found in NAMED.finditer(text)]
    return {name for line in lines for name in re.findall(r"`(\w+)`", line)}


def table_after(text: str, mark: str) -> list[list[str]]:
    """Return the cells of the first table after ``mark``, without its head."""
    found = re.search(r"^\|.*?(?=\n\n|\Z)", text[text.index(mark) :], re.DOTALL | re.MULTILINE)
    assert found, f"no table after {mark!r}"
    lines = found[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


class Book:
    """Runs a page's blocks: each in the module that its first line names, or in the page's own."""

    def __init__(self, page: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        self._page = page
        self._patch = monkeypatch
        self._settings = settings
        self.modules: dict[str, ModuleType] = {}

    def read(self) -> None:
        """Run the page, its settings in force from where they stand."""
        for block in blocks(self._page):
            if block.language == "python" and block.is_run:
                self._run(block)
            elif block.language == "python":
                self._compiled(block)
            elif block.language == "pycon":
                self._converse(block)

    def _run(self, block: Block) -> None:
        if block.path.endswith("settings"):
            self._configure(self._executed(block, settings_to_add_to()))
        else:
            self._executed(block, self.module(block.path or "page").__dict__)

    def _converse(self, block: Block) -> None:
        names = self.module("page").__dict__
        test = doctest.DocTestParser().get_doctest(
            block.code, names, self._page.name, str(self._page), block.line
        )
        output: list[str] = []
        # The session goes on in the page's next block, with the names it has made.
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(test, out=output.append, clear_globs=False)
        names.update(test.globs)
        assert not output, "".join(output)

    def _compiled(self, block: Block) -> Any:
        # Empty lines before it make a traceback name the page's own line.
        return compile("\n" * (block.line - 1) + block.code, str(self._page), "exec")

    def _executed(self, block: Block, names: dict[str, Any]) -> dict[str, Any]:
        exec(self._compiled(block), names)
        return names

    def _configure(self, names: dict[str, Any]) -> None:
        ours = names.get("RETRYTASKS", {})
        assert set(ours) <= set(conf.NAMES)
        RetryPolicy(**ours.get("POLICY", {}))
        for entry in ours.get("ALERTS", ()):
            check(Sink.from_entry(entry))
        for entry in ours.get("ALERT_RULES", ()):
            Rule.of(entry)
        for name in ("RETRYTASKS", "TASKS"):
            if name in names:
                setattr(self._settings, name, names[name])
        if "TASKS" in names:
            backend = task_backends["default"]
            assert isinstance(backend, RetryTasksBackend)
            RetryPolicy(**backend.policy_options)

    def module(self, path: str) -> ModuleType:
        """Return the module of this path, made on first use, its packages too."""
        if path not in self.modules:
            package, _, name = path.rpartition(".")
            made = ModuleType(path)
            made.__dict__["__path__"] = []
            self._patch.setitem(sys.modules, path, made)
            self.modules[path] = made
            if package:
                setattr(self.module(package), name, made)
        return self.modules[path]


def settings_to_add_to() -> dict[str, Any]:
    return {"INSTALLED_APPS": [], "DATABASES": {"default": {}}, "Q_CLUSTER": {}}


@pytest.fixture(autouse=True)
def same_receivers() -> Iterator[None]:
    """Take away what pages connect to our signals."""
    ours = [value for value in vars(signals).values() if isinstance(value, Signal)]
    before = [(one, list(one.receivers)) for one in ours]
    yield
    for one, receivers in before:
        one.receivers = receivers
        one.sender_receivers_cache.clear()


def settings_of(page: Path, word: str) -> dict[str, Any]:
    """Return what the first of a page's settings that have this word come to."""
    settings = (block.code for block in blocks(page) if block.path.endswith("settings"))
    names = settings_to_add_to()
    exec(next(code for code in settings if word in code), names)
    return names


NewBook = Callable[[Path], Book]


@pytest.fixture(autouse=True)
def backport(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Django 5.2's backport found where the pages import django.tasks from."""
    if django.VERSION < (6, 0):
        monkeypatch.setitem(sys.modules, "django.tasks", import_module("django_tasks"))


@pytest.fixture
def new_book(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> NewBook:
    return lambda page: Book(page, monkeypatch, settings)


class TestCode:
    @pytest.mark.django_db
    @pytest.mark.parametrize(
        "page",
        [page for page in PAGES if page not in APART],
        ids=lambda page: str(page.relative_to(ROOT)),
    )
    def test_of_every_page_runs(self, page: Path, new_book: NewBook) -> None:
        new_book(page).read()

    # A TestCase closes the connection when it is through, so none of ours may be in a transaction.
    @pytest.mark.django_db(transaction=True)
    def test_of_the_page_about_tests_passes(self, new_book: NewBook) -> None:
        book = new_book(DOCS / "how-to" / "testing.md")
        book.read()

        result = unittest.TestResult()
        unittest.TestLoader().loadTestsFromModule(book.module("orders.tests")).run(result)

        assert "\n".join(text for _, text in result.failures + result.errors) == ""
        assert result.testsRun == 4

    @pytest.mark.parametrize("page", PAGES, ids=IDS)
    def test_is_marked_with_a_language_that_the_tests_know(self, page: Path) -> None:
        languages = {block.language for block in blocks(page)}
        fences = re.findall(r"^ *```\w*$", page.read_text(), re.MULTILINE)

        assert languages <= {"python", "pycon", "console", "text", "mermaid", "ini"}
        assert len(fences) == 2 * len(blocks(page))


class TestReadme:
    def test_fits_on_two_screens(self) -> None:
        lines = README.read_text().splitlines()

        assert len(lines) <= 120

    def test_advises_the_settings_that_the_tutorial_tries(self) -> None:
        tutorial = settings_of(DOCS / "tutorial" / "first-task.md", "CONN_MAX_AGE")

        assert settings_of(README, "Q_CLUSTER")["Q_CLUSTER"] == tutorial["Q_CLUSTER"]
        assert settings_of(README, "CONN_MAX_AGE")["DATABASES"] == tutorial["DATABASES"]

    @pytest.mark.django_db
    def test_table_of_attempts_is_what_its_code_does(
        self, new_book: NewBook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        book = new_book(README)
        book.read()
        fail_in_turn(monkeypatch, book.module("orders.tasks"), "SMTP")

        run_to_the_end()

        table = table_after(README.read_text(), "The rows tell the story")
        task = Task.objects.get(internal=False)
        attempts = list(task.attempts.all())
        assert [told(attempt) for attempt in attempts] == [row[:3] for row in table]
        assert [waited(attempt) for attempt in attempts] == ["5 s", "5 s", "5 s", ""]
        assert [row[3] for row in table[:3]] == ["retry after 5 s"] * 3
        assert table[3][3] == "max retries reached: FAILED, log and alert"
        assert (task.status, task.stop_reason) == (Status.FAILED, StopReason.MAX_RETRIES)
        assert alerts() == ["send_email failed: SMTPServerError (attempt 4)"]


class TestAlertsPage:
    PAGE = DOCS / "how-to" / "alerts.md"

    @pytest.mark.django_db
    def test_has_a_receiver_and_a_sink_that_hear_of_a_failure(self, new_book: NewBook) -> None:
        book = new_book(self.PAGE)
        book.read()
        import_string("tests.support.tasks.fails_once_for_all").enqueue()

        run_to_the_end()

        failure = "tests.support.tasks.fails_once_for_all"
        assert book.module("orders.receivers").heard == [f"{failure}: builtins.ValueError"]
        assert alerts() == ["fails_once_for_all failed: ValueError (attempt 1)"]
        assert mail.outbox[-1].to == ["ops@shop.example"]

    @pytest.mark.django_db
    def test_verifies_what_is_signed(self, new_book: NewBook, settings: Settings) -> None:
        book = new_book(self.PAGE)
        book.read()
        is_genuine = book.module("ops.hooks").is_genuine
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

        with receiving() as receiver:
            sink = {"sink": "django_retrytasks.alerts.webhook", "url": receiver.url()}
            settings.RETRYTASKS = {"ALERTS": [{**sink, "secret": secret}]}
            import_string("tests.support.tasks.fails_once_for_all").enqueue()
            run_to_the_end()

        [posted] = receiver.posted
        headers = {name: text for name, text in posted.headers.items() if "Webhook" in name}
        request, forged = (
            RequestFactory().post("/", body, content_type="application/json", headers=headers)
            for body in (posted.body, posted.body + b" ")
        )
        Webhook(secret).verify(posted.body, headers)
        assert is_genuine(request, secret)
        assert not is_genuine(forged, secret)
        assert not is_genuine(request, "whsec_AAAA")


def alerts() -> list[str]:
    """Return the subjects of our letters; Django's logging may have sent one as well."""
    subjects = [letter.subject.removeprefix("[Django] ") for letter in mail.outbox]
    return [subject for subject in subjects if not subject.startswith("ERROR")]


class SMTPServerError(Exception):
    """What the README's mail server answers with."""


def fail_in_turn(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    errors: list[Exception] = [ConnectionError(), TimeoutError()]
    errors += [SMTPServerError(), SMTPServerError()]

    def fails(*args: Any) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(module, name, fails)


def run_to_the_end() -> None:
    """Do a cluster's work until no Task is unfinished, without its waits."""
    for _ in range(10):
        Task.objects.unfinished().update(run_after=timezone.now() - timedelta(hours=1))
        run(KEY)
    assert not Task.objects.unfinished().exists()


def told(attempt: Attempt) -> list[str]:
    error = attempt.exception_class_path.rpartition(".")[2]
    return [str(attempt.number), error, str(attempt.retry_count)]


def waited(attempt: Attempt) -> str:
    if attempt.next_run_after is None:
        return ""
    return f"{round((attempt.next_run_after - attempt.finished_at).total_seconds())} s"


@run_once
@pytest.mark.cluster
class TestTutorial:
    def test_does_what_it_says(self, tmp_path: Path) -> None:
        page = DOCS / "tutorial" / "first-task.md"
        start_project(tmp_path, page)
        enqueue, attempts, redrive, success = (
            block.code for block in blocks(page) if block.language == "pycon"
        )

        with cluster_of(tmp_path) as log:
            talk(tmp_path, enqueue)
            wait_for(lambda: has_ended(tmp_path, "FAILED"))
            talk(tmp_path, FIND_TASK + attempts)
            talk(tmp_path, FIND_TASK + redrive)
            wait_for(lambda: has_ended(tmp_path, "SUCCEEDED"))
            talk(tmp_path, FIND_TASK + success)

        shown = next(block.code for block in blocks(page) if block.language == "text")
        message = re.sub(r"id=\S+", "id=…", log.read_text())
        assert shown.strip() in message

    def test_leads_to_the_admin_page(self) -> None:
        page = (DOCS / "tutorial" / "first-task.md").read_text()

        assert reverse("admin:retrytasks_task_changelist") in page


def start_project(site: Path, page: Path) -> None:
    """Make the project as the tutorial has its reader do."""
    django_admin(site, "startproject", "shop", ".")
    django_admin(site, "startapp", "orders")
    for block in blocks(page):
        if block.language == "python":
            with (site / block.path.replace(".", "/")).with_suffix(".py").open("a") as file:
                file.write(f"\n{block.code}")
    manage(site, "check", "--fail-level", "WARNING")
    manage(site, "migrate", "--verbosity", "0")


# What a later session of the tutorial's reader still has from an earlier one.
FIND_TASK = """\
>>> from django_retrytasks.models import Task
>>> task = result = Task.objects.get(internal=False)
"""


def talk(site: Path, session: str) -> None:
    """Have the project's shell run a session of the tutorial, and compare what it answers."""
    code = (
        "import doctest, sys; failed = doctest.DocTestRunner().run("
        f"doctest.DocTestParser().get_doctest({session!r}, {{}}, 'tutorial', None, 0)).failed; "
        "sys.exit(failed)"
    )
    manage(site, "shell", "-c", code)


def has_ended(site: Path, status: str) -> bool:
    code = (
        "from django_retrytasks.models import Task; "
        "print('status is', Task.objects.get(internal=False).status)"
    )
    return f"status is {status}" in manage(site, "shell", "-c", code)


def django_admin(site: Path, *arguments: str) -> str:
    return _finished([sys.executable, "-m", "django", *arguments], site)


def manage(site: Path, *arguments: str) -> str:
    return _finished([sys.executable, "manage.py", *arguments], site)


def _finished(command: Sequence[str], site: Path) -> str:
    done = subprocess.run(
        command, cwd=site, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """Return this environment without this run's settings, with our package to be found."""
    package = Path(django_retrytasks.__file__).parents[1]
    kept = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    return {**kept, "PYTHONPATH": str(package)}


@contextmanager
def cluster_of(site: Path) -> Iterator[Path]:
    """Run the project's cluster while the body runs; yield its log."""
    log = site / "qcluster.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "qcluster"],
            cwd=site,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class TestReference:
    def test_names_all_that_the_package_exports(self) -> None:
        pages = ("decorator", "policy", "context", "exceptions")

        assert set(django_retrytasks.__all__) <= documented(*pages)

    def test_names_every_option_of_a_policy(self) -> None:
        options = {field.name for field in fields(RetryPolicy)} | {"max_attempts"}

        assert options <= documented("policy")

    def test_names_every_option_of_the_decorator(self) -> None:
        page = (REFERENCE / "decorator.md").read_text()
        section = page[page.index("### Options") : page.index("## `RetryTask`")]

        assert set(TaskOptions.__annotations__) | {"bind"} <= set(re.findall(r"`(\w+)`", section))

    @pytest.mark.parametrize(
        ("kind", "page"),
        [(RetryTask, "decorator"), (RetryPolicy, "policy"), (RetryTaskContext, "context")],
    )
    def test_names_every_public_attribute(self, kind: type, page: str) -> None:
        own = {name for name in vars(kind) if not name.startswith("_")}
        inherited = {"enqueue", "aenqueue", "get_result"} if kind is RetryTask else set()

        assert own | inherited <= documented(page)

    def test_names_every_backend(self) -> None:
        ours = {name for name, value in vars(testing).items() if is_backend(value)}

        assert ours == {"DummyBackend", "ImmediateBackend"}
        assert ours <= documented("backend")

    def test_names_every_exception(self) -> None:
        public = (getattr(exceptions, name) for name in exceptions.__all__)
        raised = [one for one in public if is_exception(one)]

        assert raised
        assert {one.__name__ for one in raised} <= documented("exceptions")

    def test_names_every_signal(self) -> None:
        ours = {name for name, value in vars(signals).items() if isinstance(value, Signal)}

        assert ours == {"attempt_failed", "task_retrying", "task_succeeded", "task_failed"}
        assert ours <= documented("signals")

    @pytest.mark.parametrize("model", [*apps.get_app_config("retrytasks").get_models()])
    def test_gives_every_field_with_its_help_text(self, model: type[Model]) -> None:
        page = (REFERENCE / "models.md").read_text()

        lines = table_after(page, f"\n## {model.__name__}\n")

        told = {name.strip("`"): text for name, _, text in lines}
        columns = {field.name: str(field.help_text) for field in model._meta.concrete_fields}
        assert list(told) == list(columns)
        assert {name: text for name, text in told.items() if columns[name]} == {
            name: text for name, text in columns.items() if text
        }
        assert all(told.values())

    @pytest.mark.parametrize(
        ("choices", "page", "heading"),
        [
            (Status, "models", "### Statuses"),
            (Attempt.Outcome, "models", "### Outcomes"),
            (StopReason, "policy", "## Stop reasons"),
        ],
    )
    def test_explains_every_choice(self, choices: Any, page: str, heading: str) -> None:
        lines = table_after((REFERENCE / f"{page}.md").read_text(), heading)

        assert [name.strip("`") for name, *_ in lines] == choices.values

    def test_prints_schedules_as_policies_have_them(self) -> None:
        page = (REFERENCE / "policy.md").read_text()

        marks = re.findall(r"<!-- schedule: (.+) -->", page)

        assert len(marks) == 2
        for options in marks:
            policy = eval(f"RetryPolicy({options})")
            printed = table_after(page, options)
            assert [[float(cell) for cell in line] for line in printed] == with_sum(policy)

    @pytest.mark.django_db
    def test_names_what_log_lines_carry(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, logger="django_retrytasks")
        import_string("tests.support.tasks.fails_at_once_again").enqueue()

        run_to_the_end()

        ours = [record for record in caplog.records if record.name == "django_retrytasks"]
        standard = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}
        carried = {key for record in ours for key in vars(record).keys() - standard}
        page = (REFERENCE / "logging.md").read_text()
        begun = [cell[0].strip("`") for cell in table_after(page, "| line begins with")]
        assert carried == {cell[0].strip("`") for cell in table_after(page, "## `extra`")}
        assert {record.levelname for record in ours} >= {"DEBUG", "INFO", "WARNING", "ERROR"}
        assert [r.getMessage() for r in ours if not r.getMessage().startswith(tuple(begun))] == []


def is_backend(value: object) -> bool:
    is_kind = isinstance(value, type) and issubclass(value, RetryTasksBackend)
    return is_kind and value.__module__ == testing.__name__


def is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def with_sum(policy: RetryPolicy) -> list[list[float]]:
    rows, total = [], 0.0
    for number, least, most in policy.schedule():
        total += most
        rows.append([float(number), least, most, total])
    return rows


class TestLifecyclePage:
    PAGE = DOCS / "explanation" / "lifecycle.md"

    def test_draws_the_edges_that_its_table_has(self) -> None:
        text = self.PAGE.read_text()

        drawn = re.findall(r"^ +(\S+) --> (\w+): .+$", text, re.MULTILINE)

        told = [(line[0] or "[*]", line[1]) for line in table_after(text, "| from | to |")]
        assert sorted(drawn) == sorted(told)
        assert {state for edge in told for state in edge} == {"[*]", *Status.values}


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=IDS)
    def test_link_to_what_is_there(self, page: Path) -> None:
        targets = [found["target"] for found in LINK.finditer(page.read_text())]

        broken = [target for target in targets if not resolves(page, target)]

        assert broken == []

    def test_can_all_be_reached_from_the_index(self) -> None:
        index = (DOCS / "index.md").read_text()

        left_out = [page for page in DOCS.rglob("*.md") if str(page.relative_to(DOCS)) not in index]

        assert left_out == [DOCS / "index.md"]

    def test_name_the_versions_of_the_code(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        supported = next(x for x in README.read_text().splitlines() if x.startswith("Django 5.2"))

        assert project["version"] == django_retrytasks.__version__
        assert f"({project['version']})" in (ROOT / "CHANGELOG.md").read_text()
        assert classified(project, "Framework :: Django :: ") == versions(supported, "Django")
        assert classified(project, "Programming Language :: Python :: ") == versions(
            supported, "Python"
        )
        assert project["requires-python"] == f">={versions(supported, 'Python')[0]}"
        assert "django-q2>=" + versions(supported, "django-q2")[0] in project["dependencies"]


def classified(project: dict[str, Any], prefix: str) -> list[str]:
    names = [one.removeprefix(prefix) for one in project["classifiers"] if one.startswith(prefix)]
    return [name for name in names if re.fullmatch(r"\d+\.\d+", name)]


def versions(line: str, of: str) -> list[str]:
    part = next(part for part in line.split(";") if part.strip().startswith(of))
    return re.findall(r"\d+\.\d+", part.removeprefix(of))


def resolves(page: Path, target: str) -> bool:
    if "://" in target:
        return True
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    return file.exists() and (not anchor or anchor in anchors(file))


def anchors(page: Path) -> set[str]:
    """Return the fragments that lead to a page's headings, as GitHub makes them."""
    titles = (found["title"].lower() for found in HEADING.finditer(page.read_text()))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
