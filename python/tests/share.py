"""A pytest plugin that leaves a share of the tests: RUNIUM_TEST_SHARE=1/3 pytest -p share runs every third."""
import os

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    number, count = map(int, os.environ['RUNIUM_TEST_SHARE'].split('/'))
    left = items[number - 1::count]
    config.hook.pytest_deselected(items=[item for item in items if item not in left])
    items[:] = left
