"""A pytest plugin for an interpreter that counts references (Debian's python3.11-dbg): pytest -p references.

Each test is run until the count did not grow over three rounds, fixtures of its own included. A test that gains or loses
references in every round never gets there, and fails. The first rounds fill caches, and a thread that ends a moment later
than its test may move a few references from one round to the next: hence the sum over three, and several tries. A test that
runs a program in an interpreter of its own (the fixture `script`) is run once: there is nothing here to count.
"""
import gc
import sys

import pytest
from _pytest.runner import runtestprotocol

ROUNDS = 3
MOST_ROUNDS = 15


def pytest_configure(config):
    if not hasattr(sys, 'gettotalrefcount'):
        raise pytest.UsageError(f'{sys.executable} does not count references')


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if 'script' in item.fixturenames:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = run_until_steady(item)
    item.session._setupstate.teardown_exact(nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def run_until_steady(item):
    """The reports of the last round, in which the call failed if the count was never steady."""
    counts = [0] * (MOST_ROUNDS + 1)  # made once: what is written here must not count
    first = lengths = None
    for number in range(MOST_ROUNDS + 1):
        reports = run_once(item)
        if not all(report.passed for report in reports):
            return reports
        lengths = forget_repeats(item, lengths)
        first = first or reports  # of which every later count is aware
        del reports
        counts[number] = total()
        if number >= ROUNDS and counts[number] == counts[number - ROUNDS]:
            return first
    reports = first
    gained = [after - before for before, after in zip(counts, counts[1:])]
    fail(reports, f'references gained per round: {gained}')
    return reports


def run_once(item):
    item._initrequest()
    item._report_sections.clear()
    return runtestprotocol(item, log=False, nextitem=item.parent)  # what modules and the session have set up stays


def forget_repeats(item, lengths):
    """What fixtures of the module or the session have to do at their end is noted once more in each round: once will do."""
    lists = [each._finalizers for definitions in item._fixtureinfo.name2fixturedefs.values() for each in definitions]
    lists += [finalizers for finalizers, _ in item.session._setupstate.stack.values()]
    if lengths is None:
        return [len(each) for each in lists]
    for each, length in zip(lists, lengths):
        del each[length:]
    return lengths


def total():
    sys._clear_type_cache()
    gc.collect()
    gc.collect()
    return sys.gettotalrefcount()


def fail(reports, text):
    for report in reports:
        if report.when == 'call':
            report.outcome, report.longrepr = 'failed', text
