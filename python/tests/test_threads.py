"""Threads and the interpreter: its lock, contexts, tracebacks, sub-interpreters, fork(), and waits within tasks."""
import contextvars
import os
import sys
import threading
import traceback

import pytest

import tasks
from runium import errors

variable = contextvars.ContextVar('variable', default='default')


@pytest.fixture
def deep_recursion():
    """For waits nested deeper than Python's usual limit: each is a call within a call."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20000)
    yield
    sys.setrecursionlimit(limit)


# -- the interpreter's lock -----------------------------------------------------------------------

@pytest.mark.parametrize('how', ['result', 'timeout', 'exception', 'close'])
def test_another_thread_runs_while_one_waits(open_runtime, mode, gate, how):
    """Y5: the gate is opened by a thread that needs the lock, so a wait that kept it would never end."""
    runtime = open_runtime(mode)
    future = runtime.new_task(tasks.enter, {'gate': gate}).run()
    counted = []

    def count_then_open():
        for number in range(1000):
            counted.append(number)
        gate.wait()
        gate.open()

    thread = threading.Thread(target=count_then_open)
    thread.start()
    if how == 'close':
        assert runtime.close() is True
    elif how == 'timeout':
        future.result(timeout=60)
    else:
        getattr(future, how)()
    thread.join()
    assert len(counted) == 1000 and future.result() == 'through'


def test_tasks_run_while_the_main_thread_computes(threads):
    """A worker gets the lock from a thread that never waits."""
    ran = []
    threads.new_task(ran.append, args=(1,)).run()
    while not ran:
        pass
    assert ran == [1]


def test_the_main_thread_goes_on_while_a_task_computes(threads):
    """And a thread that never waits gets it from a worker that computes."""
    go_on = []

    def compute():
        while not go_on:
            pass
        return 'ended'

    future = threads.new_task(compute).run()
    go_on.append(1)
    assert future.result() == 'ended'


def test_a_thread_gets_the_lock_from_workers_that_always_have_tasks(open_runtime):
    """Short tasks without end, each of which starts the next: the lock is given up between them too."""
    runtime = open_runtime(max_workers=1)
    stop = []

    def again():
        if not stop:
            runtime.new_task(again).run()

    for _ in range(300):
        runtime.new_task(again).run()
    seen = []
    thread = threading.Thread(target=seen.append, args=(1,))
    thread.start()
    thread.join()
    stop.append(1)
    assert seen == [1] and runtime.close() is True


def test_tasks_wait_for_events_of_the_program(threads):
    event = threading.Event()
    waiting = [threads.new_task(event.wait).run() for _ in range(4)]
    event.set()
    assert [future.result() for future in waiting] == [True] * 4


def test_a_lock_held_by_the_main_thread_while_it_starts_runs_is_no_deadlock(threads):
    lock = threading.Lock()

    def use():
        with lock:
            return 'had it'

    with lock:
        futures = [threads.new_task(use).run() for _ in range(50)]
    assert [future.result() for future in futures] == ['had it'] * 50


def test_no_python_runs_under_a_lock_of_the_runtime(threads):
    """A key's __eq__ and __hash__, a __del__ and a done callback all use the runtime from within it."""
    used = []

    class Uses:
        def __del__(self):
            used.append(threads.new_task(tasks.yes).run().result())

    future = threads.new_task(tasks.echo, {'value': Uses()}).run()
    future.result()
    future.add_done_callback(lambda done: used.append(len(threads.pending_tasks())))
    del future
    import gc
    for _ in range(200):
        gc.collect()
        if len(used) == 2:
            break
        threading.Event().wait(0.02)
    assert len(used) == 2 and True in used


def test_threads_may_start_runs_side_by_side(rn):
    results = []

    def use(start):
        futures = [rn.new_task(tasks.echo, {'value': number}).run() for number in range(start, start + 100)]
        results.extend(future.result() for future in futures)

    threads = [threading.Thread(target=use, args=(start,)) for start in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(400))


# -- contexts -------------------------------------------------------------------------------------

def test_a_run_has_the_context_in_which_it_was_started(threads):
    variable.set('at run')
    future = threads.new_task(variable.get).run(start_in=0.05)
    variable.set('after run')
    assert future.result() == 'at run'


def test_what_a_run_sets_stays_in_it(threads):
    variable.set('outside')
    assert threads.new_task(variable.set, args=('inside',)).run().result() is not None
    assert variable.get() == 'outside'
    assert threads.new_task(variable.get).run().result() == 'outside'


def test_runs_of_one_task_have_each_a_context_of_its_own(threads):
    task = threads.new_task(variable.get)
    futures = []
    for value in 'abc':
        variable.set(value)
        futures.append(task.run(start_in=0.02))
    assert [future.result() for future in futures] == ['a', 'b', 'c']


def test_hooks_have_the_context_of_their_run_and_see_what_the_function_set(threads):
    seen = []
    variable.set('at run')
    task = threads.new_task(variable.set, args=('by the function',))
    task.on_iter(lambda success, error: seen.append(variable.get())).on_finished(lambda *_: seen.append(variable.get()))
    future = task.run()
    variable.set('later')
    future.result()
    assert seen == ['by the function'] * 2


def test_a_task_that_runs_within_a_wait_has_its_own_context(open_runtime):
    runtime = open_runtime(max_workers=1)

    def outer():
        variable.set('outer')
        inner = runtime.new_task(variable.get)
        future = inner.run()
        variable.set('changed')
        return future.result(), variable.get()

    assert runtime.new_task(outer).run().result() == ('outer', 'changed')


# -- tracebacks -----------------------------------------------------------------------------------

def test_an_exception_has_its_traceback(threads):
    error = threads.new_task(tasks.fail_deep, {'depth': 3}).run().result()
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names == ['fail_deep'] * 4


def test_an_exception_from_a_process_has_the_remote_traceback_as_its_cause(processes):
    error = processes.new_task(tasks.fail_deep, {'depth': 3}).run().result()
    assert type(error) is KeyError and type(error.__cause__) is errors.RemoteTraceback
    assert str(error.__cause__).count('in fail_deep') == 4


def test_causes_contexts_and_notes_come_along(rn):
    error = rn.new_task(fail_from).run().result()
    text = ''.join(traceback.format_exception(error))
    assert 'the first' in text and 'the second' in text
    if sys.version_info >= (3, 11):
        assert getattr(error, '__notes__', None) == ['a note']


def fail_from():
    try:
        raise KeyError('the first')
    except KeyError as first:
        second = ValueError('the second')
        if sys.version_info >= (3, 11):
            second.add_note('a note')
        raise second from first


def test_result_raised_many_times_does_not_grow_the_traceback(threads, notes):
    future = tasks.Hooks(notes, raises=['on_success']).attach(threads.new_task(tasks.yes)).run()
    lengths = []
    for _ in range(5):
        try:
            future.result()
        except RuntimeError as error:
            lengths.append(len(traceback.extract_tb(error.__traceback__)))
    # concurrent.futures adds a frame each time; that of the callback is there in any case.
    assert lengths[0] >= 2 and lengths[-1] <= lengths[0] + 4


@pytest.mark.parametrize('error', [SystemExit(3), KeyboardInterrupt('by hand'), GeneratorExit()])
def test_a_task_that_raises_what_is_no_exception_has_failed_with_it(rn, notes, error):
    error = type(error)(*error.args)  # each time it is raised it gets a longer traceback, and keeps that
    future = tasks.Hooks(notes).attach(rn.new_task(tasks.raise_this, {'error': error})).run()
    result = future.result()
    assert type(result) is type(error) and result.args == error.args
    assert [line.split()[0] for line in notes.read()] == ['on_iter', 'on_error', 'on_finished']
    assert rn.new_task(tasks.yes).run().result() is True


def test_an_exception_group_comes_back(rn):
    if sys.version_info < (3, 11):
        pytest.skip('there are none before Python 3.11')
    error = rn.new_task(tasks.raise_this, {'error': ExceptionGroup('two', [ValueError(1), KeyError(2)])}).run().result()
    assert [type(inner) for inner in error.exceptions] == [ValueError, KeyError]


def test_an_exception_whose_text_cannot_be_made_is_returned_all_the_same(open_runtime, capfd):
    class Mute(Exception):
        def __str__(self):
            raise ValueError('no text')

    for debug in (False, True):
        runtime = open_runtime(debug=debug)
        assert type(runtime.new_task(tasks.raise_this, {'error': Mute()}).run().result()) is Mute


def test_recursion_without_end_is_an_exception(rn):
    result = rn.new_task(recurse).run().result()
    assert type(result) is RecursionError
    assert rn.new_task(tasks.yes).run().result() is True


def recurse():
    return recurse()


# -- waits within tasks ---------------------------------------------------------------------------

def test_waits_nested_a_thousand_deep_end_with_one_worker(open_runtime, deep_recursion):
    """D6."""
    runtime = open_runtime(max_workers=1)

    def down(depth):
        return 0 if depth == 0 else 1 + runtime.new_task(down, args=(depth - 1,)).run().result()

    assert runtime.new_task(down, args=(1000,)).run().result() == 1000


def test_a_tree_of_waits_ends_with_one_worker(open_runtime):
    runtime = open_runtime(max_workers=1)

    def tree(depth):
        if depth == 0:
            return 1
        futures = [runtime.new_task(tree, args=(depth - 1,)).run() for _ in range(3)]
        return sum(future.result() for future in futures)

    assert runtime.new_task(tree, args=(5,)).run().result() == 3 ** 5


def test_a_task_may_wait_for_one_that_waits_for_the_clock(open_runtime):
    runtime = open_runtime(max_workers=1)

    def outer():
        return runtime.new_task(tasks.yes).run(start_in=0.05).result()

    assert runtime.new_task(outer).run().result() is True


def test_tasks_may_wait_by_the_standard_functions_too(open_runtime):
    import concurrent.futures
    runtime = open_runtime(max_workers=2)

    def outer():
        futures = [runtime.new_task(tasks.echo, {'value': number}).run() for number in range(10)]
        return sorted(future.result() for future in concurrent.futures.as_completed(futures))

    assert runtime.new_task(outer).run().result() == list(range(10))


def test_the_standard_wait_in_the_only_worker_ends_too(open_runtime):
    """It waits for an event of its own, of which the core knows nothing."""
    import concurrent.futures
    runtime = open_runtime(max_workers=1)

    def outer():
        future = runtime.new_task(tasks.yes).run()
        return concurrent.futures.wait([future], timeout=0.2).done == {future}

    assert runtime.new_task(outer).run().result() in (True, False)  # False: that wait is not ours to see
    assert runtime.new_task(tasks.yes).run().result() is True


def test_ten_thousand_runs_that_wait_for_the_clock_hold_no_worker(open_runtime, mode):
    runtime = open_runtime(mode, max_workers=2)
    assert runtime.new_task(tasks.yes).run().result() is True
    late = runtime.new_task(tasks.yes)
    futures = [late.run(start_in=3600) for _ in range(10000)]
    assert runtime.new_task(tasks.echo, {'value': 5}).run().result() == 5
    assert len(os.listdir('/proc/self/task')) < 100
    assert not any(future.done() for future in futures)
    assert all([future.cancel() for future in futures])


# -- other interpreters, other processes ----------------------------------------------------------

def test_a_sub_interpreter_is_refused_by_name(script):
    ended = script('''
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        import runium
        number = interpreters.create()
        text = "try:\\n    import runium\\n    print('imported')\\nexcept ImportError as error:\\n    print(error)"
        interpreters.run_string(number, text)
        interpreters.destroy(number)
        print(runium.new_task(int).run().result())
    ''')
    assert ended.status == 0 and ended.err == '', ended
    lines = ended.out.splitlines()
    assert lines[-1] == '0' and 'interpreter' in lines[0], ended


def test_the_module_can_be_imported_once_more(script):
    ended = script('''
        import importlib, sys
        import runium
        first = runium.new_task(int).run()
        for name in [name for name in sys.modules if name.split('.')[0] == 'runium']:
            del sys.modules[name]
        import runium as again
        assert again is not runium
        print(again.new_task(int, args=('4',)).run().result(), first.result())
    ''')
    assert (ended.status, ended.out, ended.err) == (0, '4 0\n', ''), ended


FORK = '''
    import os, sys, threading, time
    from runium import errors
    from runium.core import Runium
    import runium
    mode, what = sys.argv[1:]
    rn = Runium(mode=mode, max_workers=2)
    done = rn.new_task(int).run()
    assert done.result() == 0
    late = rn.new_task(int).run(start_in=3600)

    def refuses(ask):
        try:
            ask()
        except errors.Forked:
            return True
        except BaseException as error:
            print('not Forked but', repr(error), file=sys.stderr)
        return False

    def in_child():
        if what == 'futures':
            assert refuses(late.result) and refuses(lambda: late.result(timeout=1))
            assert type(late.exception()) is errors.Forked and late.done() and not late.cancel()
        elif what == 'run':
            assert refuses(lambda: rn.new_task(int).run().result())
        elif what == 'own':
            own = Runium(mode=mode)
            assert own.new_task(int, args=('5',)).run().result() == 5
        elif what == 'default':
            assert runium.new_task(int, args=('5',)).run().result() == 5
        elif what == 'exit':
            pass
        elif what == 'again':
            grandchild = os.fork()
            if grandchild == 0:
                own = Runium(mode=mode, max_workers=1)
                os._exit(own.new_task(int, args=('9',)).run().result())
            assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 9

    child = os.fork()
    if child == 0:
        in_child()
        sys.exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert late.cancel() and status == 0 and rn.new_task(int, args=('6',)).run().result() == 6
    print('parent well')
'''


@pytest.mark.forks
@pytest.mark.parametrize('what', ['futures', 'run', 'own', 'default', 'exit', 'again'])
def test_fork(script, mode, what):
    """The child ends by sys.exit(): its interpreter is taken apart with the parent's runtimes in it."""
    ended = script(FORK, mode, what)
    assert (ended.status, ended.out, ended.err, ended.left) == (0, 'parent well\n', '', []), ended


@pytest.mark.forks
def test_fork_in_a_task(script):
    ended = script('''
        import os
        from runium.core import Runium
        rn = Runium(max_workers=1)
        def fork():
            child = os.fork()
            if child == 0:
                os._exit(4)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(rn.new_task(fork).run().result(), rn.new_task(int).run().result())
    ''')
    assert (ended.status, ended.out, ended.err) == (0, '4 0\n', ''), ended


@pytest.mark.forks
def test_fork_while_workers_are_busy(script):
    """Whatever a worker has in hand when the process is copied, the child is usable."""
    ended = script('''
        import os
        from runium.core import Runium
        rn = Runium(max_workers=4)
        task = rn.new_task(int)
        for _ in range(20):
            futures = [task.run() for _ in range(200)]
            child = os.fork()
            if child == 0:
                own = Runium(max_workers=1)
                os._exit(own.new_task(int, args=('5',)).run().result())
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
            assert [future.result() for future in futures] == [0] * 200
        print('well')
    ''')
    assert (ended.status, ended.out, ended.err) == (0, 'well\n', ''), ended


@pytest.mark.forks
def test_multiprocessing_by_fork_with_runtimes_open(script, mode):
    ended = script('''
        import multiprocessing, sys
        from runium.core import Runium
        rn = Runium(mode=sys.argv[1], max_workers=1)
        assert rn.new_task(int).run().result() == 0
        with multiprocessing.get_context('fork').Pool(2) as pool:
            print(pool.map(abs, [-1, -2]))
        print(rn.new_task(int).run().result())
    ''', mode)
    assert (ended.status, ended.out, ended.err, ended.left) == (0, '[1, 2]\n0\n', '', []), ended


# -- threads of others ----------------------------------------------------------------------------

def test_a_worker_is_a_thread_that_threading_knows_of(threads):
    def look():
        return threading.current_thread().name, threading.get_ident() != threading.main_thread().ident

    name, is_other = threads.new_task(look).run().result()
    assert isinstance(name, str) and is_other


def test_thread_locals_stay_in_their_thread(open_runtime):
    runtime = open_runtime(max_workers=1)
    local = threading.local()

    def keep(value):
        before = getattr(local, 'value', None)
        local.value = value
        return before

    first = runtime.new_task(keep, args=(1,)).run().result()
    second = runtime.new_task(keep, args=(2,)).run().result()
    assert (first, second) == (None, 1) and not hasattr(local, 'value')


def test_thread_locals_go_with_their_worker(open_runtime):
    """The thread state of a worker ends with it, and what it kept is freed."""
    import weakref

    class Kept:
        pass

    runtime = open_runtime(max_workers=1)
    local = threading.local()
    refs = []

    def keep():
        local.value = Kept()
        refs.append(weakref.ref(local.value))

    runtime.new_task(keep).run().result()
    assert refs[0]() is not None
    runtime.close()
    for _ in range(200):
        if refs[0]() is None:
            break
        threading.Event().wait(0.02)
    assert refs[0]() is None


def test_a_profile_or_trace_function_does_no_harm(threads):
    seen = []
    sys.setprofile(lambda frame, event, arg: seen.append(event))
    try:
        result = threads.new_task(tasks.yes).run().result()
    finally:
        sys.setprofile(None)
    assert result is True and seen
