"""What SECURITY.md says of rows and of signatures holds."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from django.apps import apps
from django_q import core_signing
from django_q.conf import Conf
from django_q.signing import BadSignature, PickleSerializer, SignedPackage
from pytest_django import Settings

from django_retrytasks.broker import wakeups
from tests.docs.book import ROOT, table_after
from tests.support.driver import KEY, wake_ups

PAGE = (ROOT / "SECURITY.md").read_text()


class TestStoredRows:
    def test_are_all_named(self) -> None:
        lines = table_after(PAGE, "## What is stored")

        named = {name.strip("` ") for line in lines for name in line[0].split(",")}
        assert named == {model.__name__ for model in apps.get_app_config("retrytasks").get_models()}


class TestSignature:
    @pytest.mark.django_db
    def test_of_the_sites_own_key_is_accepted(self) -> None:
        wakeups.write(KEY, [wakeups.now()])

        [wake] = wake_ups()

        assert SignedPackage.loads(wake.payload)["args"] == (KEY, None)

    @pytest.mark.parametrize("fallbacks", [[], ["another"]])
    def test_of_another_key_is_refused_and_nothing_unpickled(
        self, tmp_path: Path, settings: Settings, fallbacks: list[str]
    ) -> None:
        settings.SECRET_KEY_FALLBACKS = fallbacks
        mark = tmp_path / "unpickled"
        forged = core_signing.dumps(
            Touches(mark), key="another", salt=Conf.PREFIX, serializer=PickleSerializer
        )

        with pytest.raises(BadSignature):
            SignedPackage.loads(forged)

        assert not mark.exists()
        pickle.loads(pickle.dumps(Touches(mark)))
        assert mark.exists()


class Touches:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)
