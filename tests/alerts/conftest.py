"""How failed assertions of the stage are shown."""

import pytest

# By pytest itself this is done to test files alone.
pytest.register_assert_rewrite("tests.alerts.stage")
