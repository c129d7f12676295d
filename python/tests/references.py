"""A pytest plugin for an interpreter that counts references (Debian's python3.11-dbg): pytest -p references.

Each test is run again and again, fixtures of its own included, until three rounds in a row have gained and lost nothing: no
reference, no block of memory, no file descriptor. The first rounds fill caches. And a worker that is a moment behind the test
moves a few references from one round to the next: what it holds comes on top of what there is, so where no three rounds are
alike the lowest of three is compared with the lowest of the three before. A test that gains something in each round never
gets there, and fails. So does one that gives back more than it took.

Two kinds of tests are an exception:

- One that runs a program in an interpreter of its own (the fixture `script`) is run once: there is nothing here to count.
- Of one that uses numpy (the fixture `numpy`) no references are counted, but all else is. Debian builds numpy for the
  ordinary interpreter only. What its code takes and gives back is not in the total, so what crosses to the interpreter's
  own code, or from there, makes the total wrong: numpy.zeros(9) alone adds to it each time.
"""
import array
import gc
import os
import sys

import pytest
from _pytest.runner import runtestprotocol

ROUNDS = 3
MOST_ROUNDS = 30


def file_descriptors():
    return len(os.listdir('/proc/self/fd'))


COUNTED = {'references': getattr(sys, 'gettotalrefcount', None), 'blocks of memory': sys.getallocatedblocks,
           'file descriptors': file_descriptors}


def pytest_configure(config):
    if not COUNTED['references']:
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


class Counts:
    """What was counted after each round. Its numbers are no objects, and it is made once: it must not count itself."""

    def __init__(self, item):
        self.of = {name: array.array('q', [0] * (MOST_ROUNDS + 1)) for name in COUNTED}
        self.length = 0
        if 'numpy' in item.fixturenames:
            del self.of['references']

    def add(self):
        sys._clear_type_cache()
        gc.collect()
        gc.collect()
        for name, numbers in self.of.items():
            numbers[self.length] = COUNTED[name]()
        self.length += 1

    def are_steady(self):
        return all(self.is_steady(numbers) for numbers in self.of.values())

    def is_steady(self, numbers):
        counted = numbers[:self.length]
        last, before = counted[-ROUNDS:], counted[-2 * ROUNDS:-ROUNDS]
        if not before:
            return False
        return min(last) == max(last) == before[-1] or len(before) == ROUNDS and min(last) == min(before)

    def gained(self):
        """What is not steady, by its name: the gain of each round."""
        return {name: [after - before for before, after in zip(numbers, numbers[1:])]
                for name, numbers in self.of.items() if not self.is_steady(numbers)}


def run_until_steady(item):
    """The reports of the first round, in which the call failed if the counts were never steady; or those of a failure."""
    set_aside_what_there_is()
    counts = Counts(item)
    first = lengths = None
    for _ in range(MOST_ROUNDS + 1):
        reports = run_once(item)
        if not all(report.passed for report in reports):
            return reports
        lengths = forget_repeats(item, lengths)
        first = first or reports  # of which every later count is aware
        del reports
        counts.add()
        if counts.are_steady():
            return first
    fail(first, counts.gained())
    return first


def set_aside_what_there_is():
    """What there was before the test is not looked through for garbage after each round; most of the time was spent so."""
    gc.collect()
    gc.freeze()


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


def fail(reports, gained):
    for report in reports:
        if report.when == 'call':
            report.outcome = 'failed'
            report.longrepr = '\n'.join(f'{name} gained per round: {each}' for name, each in gained.items())
