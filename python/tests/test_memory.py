"""Y2: each allocation of each call is refused once. Then there is a MemoryError or the right answer; and the next call works.

The calls run in an interpreter of their own, so that a crash is the end of one test only. What is refused are Python's own
allocations, of all threads, so the ones that a worker makes for the call count too.
"""
import json
import sys

import pytest

if hasattr(sys, 'gettotalrefcount'):
    # Where memory for a frame is refused Python 3.11 goes on without an exception, or with one that it has forgotten. In
    # the ordinary interpreter that ends in the SystemError that is_refusal() knows; this one has assertions there.
    pytest.skip('an interpreter built for debugging does not outlive a frame that cannot be made', allow_module_level=True)
pytest.importorskip('_testcapi', reason='allocations are refused by a module that Debian has in libpython3-testsuite')

START = '''
import concurrent.futures, gc, json, logging, sys, threading
import _testcapi
import runium, runium.util
from memory_tasks import error_is, fail, fail_as_hook, first, nothing, number, one, zero
from runium.core import Runium

MODE = sys.argv[1]
MOST = 600          # points of a call; none has so many
IN_A_ROW = 12       # so many without an effect: the call makes no more allocations
logging.getLogger('runium').addHandler(logging.NullHandler())
logging.raiseExceptions = False
unraisable = []
sys.unraisablehook = lambda args: unraisable.append(args.exc_value)
rn = Runium(mode=MODE, max_workers=1, debug=False)
points, bad = {}, []

def is_refusal(error):
    """A MemoryError, or what Python itself and its library make of one: frames that cannot be made, and locks."""
    return isinstance(error, MemoryError) or error is None or \
        isinstance(error, SystemError) and 'runium' not in str(error) and 'built-in' not in str(error) or \
        isinstance(error, RuntimeError) and str(error) == "can't allocate lock"

def refuse(name, call, right=None, raises=(), prepare=lambda: None):
    """Runs call(prepare()) again and again, and refuses another allocation each time."""
    call(prepare()) if not raises else None    # what is made at the first use is made
    quiet = number = 0
    while quiet < IN_A_ROW and number < MOST:
        given = prepare()
        outcome = None
        _testcapi.set_nomemory(number, number + 1)
        try:
            outcome = call(given)
        except BaseException as error:
            outcome = error
        finally:
            _testcapi.remove_mem_hooks()
        refused = isinstance(outcome, BaseException) and is_refusal(outcome)
        if not refused and not (raises and isinstance(outcome, raises)) and outcome != right:
            bad.append(f'{name}, allocation {number}: {outcome!r}')
        quiet = 0 if refused else quiet + 1
        number += 1
        if isinstance(outcome, BaseException):
            outcome.__traceback__ = None
    points[name] = number - quiet

def works():
    """The next call does what it should."""
    assert rn.new_task(int, args=('5',)).run().result() == 5
    gc.collect()
    assert rn.pending_tasks() == {}

def run(task, **schedule):
    result = task.run(**schedule).result()
    if isinstance(result, MemoryError):
        raise result
    return result

def cancelled_run(task):
    future = task.run(start_in='1 hour')
    return future.cancel() or future.result()

def hooked(function):
    return rn.new_task(function).on_iter(nothing).on_success(one).on_error(error_is).on_finished(nothing)
'''

END = '''
works()
others = [repr(error) for error in unraisable if not is_refusal(error)]
rn.close()
print(json.dumps({'points': points, 'bad': bad[:20], 'others': others}))
'''

CALLS = {
    'tasks': '''
refuse('new_task', lambda _: rn.new_task(int, {'a': 1}, args=[1], name='name') and None)
task = rn.new_task(int)
refuse('on_success', lambda _: task.on_success(int) and None)
refuse('repr of a task', lambda _: repr(task) and None)
refuse('name', lambda _: task.name, 'int')
refuse('pending_tasks', lambda _: len(rn.pending_tasks()), 1)
del task
''',
    'runs': '''
refuse('run', run, 0, prepare=lambda: rn.new_task(zero))
works()
refuse('run with arguments', run, 5, prepare=lambda: rn.new_task(number, {'more': 0}, args=['5']))
works()
refuse('run with the parameter runium', run, 1, prepare=lambda: rn.new_task(first))
works()
refuse('run with hooks', run, 0, prepare=lambda: hooked(zero))
works()
refuse('run with a hook that updates the result', run, 1, prepare=lambda: rn.new_task(zero).on_success(one, True))
works()
refuse('run with a schedule', lambda task: run(task, every='1 ms', times=2), 0, prepare=lambda: rn.new_task(zero))
works()
refuse('run at a time', lambda task: run(task, at='1999-12-31 23:59'), 0, prepare=lambda: rn.new_task(zero))
works()
refuse('run that fails', lambda task: type(run(task)), KeyError, prepare=lambda: rn.new_task(fail))
works()
refuse('run that fails, with hooks', lambda task: type(run(task)), KeyError, prepare=lambda: hooked(fail))
works()
refuse('run whose hook fails', run, raises=KeyError, prepare=lambda: rn.new_task(zero).on_success(fail_as_hook))
works()
refuse('run later, cancelled', cancelled_run, True, prepare=lambda: rn.new_task(zero))
works()
refuse('run of a large value', lambda task: len(run(task)), 100000, prepare=lambda: rn.new_task(bytes, args=[100000]))
works()
''',
    'refusals': '''
task = rn.new_task(int)
for bad_one in ({'every': -1}, {'every': '10 months'}, {'times': 0}, {'at': 'soon'}):
    refuse(str(bad_one), lambda _: task.run(**bad_one), raises=ValueError)
for bad_one in ({'every': []}, {'times': 'x'}, {'nonsense': 1}):
    refuse(str(bad_one), lambda _: task.run(**bad_one), raises=TypeError)
refuse('a wrong mode', lambda _: Runium(mode='x'), raises=ValueError)
refuse('what cannot be called', lambda _: rn.new_task(3), raises=TypeError)
refuse('get_seconds', lambda _: runium.util.get_seconds('10 minutes'), 600)
refuse('get_seconds of nonsense', lambda _: runium.util.get_seconds('10 months'), raises=ValueError)
del task
''',
    'futures': '''
def done():
    future = rn.new_task(zero).run()
    future.result()
    return future
refuse('result', lambda future: future.result(), 0, prepare=done)
refuse('exception', lambda future: future.exception(), None, prepare=done)
refuse('repr', lambda future: repr(future) and None, prepare=done)
refuse('add_done_callback to a done one', lambda future: future.add_done_callback(id), None, prepare=done)
refuse('wait', lambda future: concurrent.futures.wait([future]).done == {future}, True, prepare=done)
refuse('as_completed', lambda future: list(concurrent.futures.as_completed([future])) == [future], True, prepare=done)
late = lambda: rn.new_task(zero).run(start_in=3600)
refuse('a wait that times out', lambda future: future.result(0), raises=concurrent.futures.TimeoutError, prepare=late)
refuse('add_done_callback', lambda future: future.add_done_callback(id), None, prepare=late)
refuse('cancel', lambda future: future.cancel(), True, prepare=late)
def cancelled():
    future = late()
    future.cancel()
    return future
refuse('result of a cancelled one', lambda future: future.result(), raises=concurrent.futures.CancelledError, prepare=cancelled)
refuse('stop', lambda future: future.stop(), True, prepare=late)
refuse('set_result', lambda future: future.set_result(1), raises=concurrent.futures.InvalidStateError, prepare=done)
for task in list(rn.pending_tasks().values()):
    task.future.cancel()
del task
gc.collect()
''',
    'executor': '''
def use(executor):
    future = executor.submit(int, '7')
    return future.result()
refuse('submit', use, 7, prepare=rn.executor)
refuse('submit what fails', lambda executor: executor.submit(fail).result(), raises=KeyError, prepare=rn.executor)
refuse('map', lambda executor: list(executor.map(int, '123')), [1, 2, 3], prepare=rn.executor)
refuse('map in chunks', lambda executor: list(executor.map(int, '123', chunksize=2)), [1, 2, 3], prepare=rn.executor)
refuse('shutdown', lambda executor: executor.shutdown(), None, prepare=rn.executor)
''',
}
# Without a run: the first one of a worker makes the interpreter's state of its thread, and if memory is refused to that
# PyGILState_Ensure() crashes (Python 3.11).
OPENING = '''
def open_and_close(_):
    runtime = Runium(mode=MODE, max_workers=1, debug=False)
    return runtime.close()
refuse('open and close', open_and_close, True)
works()
'''
LEAST = 1000  # points of all together

found = {}


@pytest.mark.parametrize('mode', ['multithreading', 'multiprocessing'])
@pytest.mark.parametrize('calls', [*CALLS, 'opening'])
def test_each_allocation_refused_is_a_memory_error_and_no_more(script, mode, calls):
    ended = script(START + CALLS.get(calls, OPENING) + END, mode, options=['-X', 'faulthandler'])
    assert ended.status == 0 and ended.left == [], ended
    report = json.loads(ended.out)
    assert report['bad'] == [] and report['others'] == [], ended
    found[mode, calls] = sum(report['points'].values())
    assert found[mode, calls] > 0


def test_there_were_many():
    if len(found) < 2 * (len(CALLS) + 1):
        pytest.skip('not all of the others were run, or not all ended well')
    assert sum(found.values()) >= LEAST, found
