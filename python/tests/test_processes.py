"""Tasks in worker processes: what travels, what cannot, and what dies."""
import functools
import gc
import os
import signal
import textwrap
import threading

import pytest

import remote_tasks as tasks
import runium
from runium.core import Runium

MIB = 1 << 20


@pytest.fixture(scope='module')
def pool():
    runtime = Runium(mode='multiprocessing', max_workers=1, debug=False)
    yield runtime
    assert runtime.close('stop', within=60)


@pytest.fixture(autouse=True)
def it_works_on(request):
    """After each test the pool, if the test had one, does what it is asked."""
    yield
    if 'pool' in request.fixturenames:
        pool = request.getfixturevalue('pool')
        assert pool.new_task(tasks.add, {'a': 20, 'b': 22}).run().result() == 42


def run(pool, function, *args, **kwargs):
    return pool.new_task(function, kwargs, args=args).run().result(60)


# ---- what travels ----

@pytest.mark.parametrize('value', [
    None, True, False, 0, -1, 2 ** 63 - 1, -2 ** 63, 2 ** 63, 10 ** 100, 1.5, float('inf'), '', 'text', 'with \0 in it',
    'l\xf6ve', '\ud800', 'x' * 100_000, b'', b'bytes', (1, [2, {'three': {4}}]), tasks.Point(3), 3 + 4j, range(5), ...,
], ids=lambda value: type(value).__name__)
def test_what_a_task_is_given_and_returns_is_equal_on_the_other_side(pool, value):
    result = run(pool, tasks.give, value)
    assert result == value and type(result) is type(value)


def test_the_process_is_another_one(pool):
    assert run(pool, tasks.pid) != os.getpid()


def test_arguments_go_by_position_and_by_name(pool):
    assert run(pool, tasks.add, 1, b=5) == 6
    assert run(pool, tasks.add, a=1) == 2


def test_the_runium_parameter_counts(pool):
    assert pool.new_task(tasks.counted).run(times=3).result(60) == (3, 0)
    assert run(pool, tasks.counted) == (1, 0)


def test_current_call_is_that_of_the_worker(pool):
    assert pool.new_task(tasks.current_iteration, name='named').run(times=2).result(60) == (2, 0, 'named')


def test_methods_builtins_and_classes_are_tasks_too(pool):
    assert run(pool, tasks.Point(4).doubled) == tasks.Point(8)
    assert run(pool, len, [1, 2]) == 2
    assert run(pool, tasks.Point, 5) == tasks.Point(5)


def test_lambdas_and_closures_travel(pool):
    pytest.importorskip('cloudpickle')
    factor = 3
    assert run(pool, lambda x: x * factor, 14) == 42
    assert run(pool, tasks.give, lambda: factor)() == 3


def test_iterations_of_a_run_share_their_arguments_as_in_threads(pool):
    pytest.importorskip('cloudpickle')
    assert pool.new_task(lambda items: items.append(1) or len(items), {'items': []}).run(times=3).result(60) == 3


def test_runs_do_not_share_what_a_closure_holds(pool):
    pytest.importorskip('cloudpickle')
    seen = []

    def append():
        seen.append(1)
        return len(seen)

    task = pool.new_task(append)
    assert [task.run().result(60) for _ in range(3)] == [1, 1, 1]
    assert seen == []


# ---- large things ----

@pytest.mark.parametrize('kind', [bytes, bytearray])
@pytest.mark.parametrize('size', [1, 65_535, 65_536, 65_537, 64 * MIB])
def test_bytes_of_any_size_arrive_and_come_back(pool, kind, size):
    value = kind(os.urandom(1000)[:size].ljust(size, b'.'))
    assert run(pool, tasks.give, value) == value
    assert type(run(pool, tasks.make_bytes, kind, size)) is kind


def test_a_large_bytearray_in_other_things_stays_one(pool):
    for result in (run(pool, tasks.nested, 100_000), run(pool, tasks.give, tasks.nested(100_000))):
        first, (_, second) = result['a']
        assert first is second and type(first) is bytearray and len(first) == 100_000 and first[-1] == 5
        first.append(1)
        assert result['b'] == b'y' * 100_000


def buffers_here():
    """The files of the buffers that this process has open, by number."""
    found = set()
    for entry in os.scandir('/proc/self/fd'):
        try:
            if os.readlink(entry.path).startswith('/memfd:runium-buffer'):
                found.add(os.stat(entry.path).st_ino)
        except FileNotFoundError:
            pass
    return found


@pytest.mark.parametrize('kind', [bytes, bytearray])
def test_large_bytes_come_back_in_the_memory_that_others_came_in(pool, kind):
    before = buffers_here()
    future = pool.new_task(tasks.reverse, args=[kind(b'a' * 100_000 + b'b' * 100_000)]).run()
    there = buffers_here() - before
    assert future.result(60) == kind(b'b' * 100_000 + b'a' * 100_000)
    assert len(there) == 1 and buffers_here() - before == there


def test_large_bytes_come_back_whether_there_is_room_for_them_or_not(pool):
    a, b = bytearray(b'a' * 100_000), b'b' * 200_000
    assert run(pool, tasks.give_all, a, b) == (a, b)
    assert run(pool, tasks.give_all_reversed, a, b) == (b, a)
    assert run(pool, tasks.add, a, b) == a + b
    assert run(pool, tasks.give, [a[:70_000]] * 3) == [a[:70_000]] * 3
    assert run(pool, tasks.repeat, b, 3) == [b[:-1], b[:-2], b[:-3]]


def test_large_bytes_come_back_beside_an_array_that_does(pool, numpy):
    array, large = numpy.arange(100_000), bytearray(b'x' * 100_000)
    came, came_large = run(pool, tasks.give_all_reversed, large, array)
    assert (came == array).all() and came_large == large
    new, came_large = run(pool, tasks.give_all_reversed, large, array[::-1])
    assert (new == array[::-1]).all() and came_large == large


def test_each_iteration_is_given_the_bytes_that_the_program_gave(pool):
    task = pool.new_task(tasks.count_up, args=[bytearray(100_000)])
    seen = task.on_iter(tasks.first_of, updates_result=True).run(times=3).result(60)
    assert seen == 1


def test_a_callback_that_dies_leaves_the_next_one_the_bytes_that_the_task_returned(pool, tmp_path):
    task = pool.new_task(tasks.count_up, args=[bytearray(100_000)]).on_success(tasks.leave_by_the_window)
    future = task.on_finished(functools.partial(tasks.write_down_first, str(tmp_path / 'file'))).run()
    with pytest.raises(runium.WorkerCrashed):
        future.result(60)
    assert (tmp_path / 'file').read_text() == '1'


def test_a_large_array_arrives_and_comes_back_without_a_copy_of_it(pool, numpy):
    array = numpy.zeros(64 * MIB, dtype='uint8')
    result = run(pool, tasks.write_first, array)
    assert array[0] == 0, 'the program has its own'
    assert result[0] == 7 and result.shape == array.shape and result.flags.writeable
    result[1] = 8
    assert run(pool, tasks.sum_of, result) == 15
    assert len(run(pool, tasks.make_array, 10 * MIB)) == 10 * MIB


@pytest.mark.parametrize('size', [10, 20_000, 200_000])
def test_arrays_can_be_written_to_exactly_where_the_original_can(pool, size, numpy):
    array = numpy.arange(size)
    assert run(pool, tasks.write_first, array)[0] == 7
    assert run(pool, tasks.give, array).flags.writeable
    array.flags.writeable = False
    assert not run(pool, tasks.give, array).flags.writeable
    assert isinstance(run(pool, tasks.write_first, array), ValueError)


def test_parts_of_an_argument_come_back_as_such(pool, numpy):
    pytest.importorskip('cloudpickle')
    array = numpy.arange(100_000)
    first, second, whole = run(pool, lambda a: (a[:50_000], a[50_000:], a), array)
    assert (first == array[:50_000]).all() and (second == array[50_000:]).all() and (whole == array).all()
    mixed = run(pool, lambda a: [a, a + 1, a[::2]], array)
    assert (mixed[0] == array).all() and (mixed[1] == array + 1).all() and (mixed[2] == array[::2]).all()


def test_arrays_outlive_their_runtime(pool, numpy):
    with Runium(mode='multiprocessing', max_workers=1) as other:
        result = other.new_task(tasks.make_array, args=[MIB]).run().result()
    assert (result == numpy.arange(MIB, dtype='uint8')).all()


def test_a_callback_that_dies_leaves_the_next_one_the_array_that_the_task_returned(pool, tmp_path, numpy):
    array = numpy.zeros(100_000, dtype='uint8')
    task = pool.new_task(tasks.write_first, {'array': array}).on_success(tasks.leave_by_the_window)
    future = task.on_finished(functools.partial(tasks.write_down_first, str(tmp_path / 'file'))).run()
    with pytest.raises(runium.WorkerCrashed):
        future.result(60)
    assert (tmp_path / 'file').read_text() == '7'


def test_each_iteration_may_return_the_array_that_it_was_given(pool, numpy):
    task = pool.new_task(tasks.add_to_first, {'array': numpy.zeros(100_000)})
    assert task.run(times=3).result(60)[0] == 3
    assert task.run(times=3, every='10 ms').result(60)[0] == 3


# ---- what cannot travel ----

def test_what_cannot_be_pickled_is_named_by_its_path(pool):
    for kwargs, path in (({'a': threading.Lock()}, "kwargs['a']"),
                         ({'a': [1, {'deep': threading.Lock()}]}, "kwargs['a'][1]['deep']"),
                         ({'a': tasks.Point(threading.Lock())}, "kwargs['a'].x")):
        future = pool.new_task(tasks.add, kwargs).run()
        with pytest.raises(runium.NotPicklable) as caught:
            future.result(60)
        assert str(caught.value) == f"{path}: cannot pickle '_thread.lock' object"
    with pytest.raises(runium.NotPicklable, match=r'^args\[1\]: '):
        run(pool, tasks.add, 1, threading.Lock())


def test_a_function_that_cannot_be_pickled_is_named_too(pool):
    lock = threading.Lock()
    with pytest.raises(runium.NotPicklable, match="^function"):
        run(pool, lambda: lock)
    future = pool.new_task(tasks.give, {'value': 1}).on_success(lambda value: lock).run()
    with pytest.raises(runium.NotPicklable, match="^on_success"):
        future.result(60)


def test_a_pickle_that_raises_while_it_is_made_fails_that_run(pool):
    for how in ('raise', 'exit'):
        with pytest.raises(runium.NotPicklable, match=r"^kwargs\['value'\]: "):
            run(pool, tasks.give, value=tasks.EvilToPickle(how))


def test_what_is_nested_too_deep_is_refused(pool):
    nest = []
    for _ in range(100_000):
        nest = [nest]
    with pytest.raises(runium.NotPicklable, match='recursion'):
        run(pool, tasks.give, nest)


def test_a_result_that_cannot_be_pickled_is_the_iterations_error(pool):
    error = run(pool, tasks.return_lock)
    assert isinstance(error, runium.NotPicklable)
    assert str(error) == "result['deep'][1]: cannot pickle '_thread.lock' object"
    assert isinstance(run(pool, tasks.make_evil_to_pickle, 'raise'), runium.NotPicklable)
    assert isinstance(run(pool, tasks.make_evil_to_pickle, 'exit'), runium.NotPicklable)


@pytest.mark.parametrize('how, text', [('raise', 'LookupError: evil'), ('exit', 'SystemExit: 4')])
def test_an_argument_that_cannot_be_unpickled_is_the_iterations_error(pool, how, text):
    error = run(pool, tasks.give, tasks.Evil(how, os.getpid()))
    assert isinstance(error, runium.NotPicklable) and text in str(error)
    assert 'in act' in str(error.__cause__)


@pytest.mark.parametrize('how', ['die', 'crash'])
def test_an_argument_that_kills_who_unpickles_it_is_a_crash(pool, how):
    assert isinstance(run(pool, tasks.give, tasks.Evil(how, os.getpid())), runium.WorkerCrashed)


@pytest.mark.parametrize('how, text', [('raise', 'LookupError: evil'), ('exit', 'SystemExit: 4')])
def test_a_result_that_cannot_be_unpickled_fails_that_task_alone(pool, how, text):
    future = pool.new_task(tasks.give, {'value': 1}).run()
    with pytest.raises(runium.NotPicklable, match=text):
        run(pool, tasks.make_evil, how, None)
    assert future.result(60) == 1


# ---- exceptions ----

def test_an_exception_comes_back_as_its_own_with_the_remote_traceback_as_its_cause(pool):
    error = run(pool, tasks.fail, 'bad')
    assert type(error) is ValueError and error.args == ('bad',)
    assert isinstance(error.__cause__, runium.RemoteTraceback)
    assert 'in fail' in str(error.__cause__) and 'remote_tasks.py' in str(error.__cause__)


def test_the_cause_of_an_exception_is_in_its_traceback(pool):
    error = run(pool, tasks.fail_because, 'outer')
    assert "KeyError: 'inner'" in str(error.__cause__) and 'direct cause' in str(error.__cause__)


@pytest.mark.parametrize('kind, name', [('two', 'NeedsTwo'), ('lock', 'ValueError'), ('odd', 'NotToBePickled')])
def test_an_exception_that_cannot_travel_has_a_stand_in_that_names_it(pool, kind, name):
    error = run(pool, tasks.fail_oddly, kind)
    assert type(error) is runium.RuniumError and str(error).startswith(name + ': ')
    assert 'in fail_oddly' in str(error.__cause__)


@pytest.mark.parametrize('how, kind', [('sys.exit', SystemExit), ('interrupt', KeyboardInterrupt),
                                       ('memory', MemoryError), ('other', GeneratorExit)])
def test_what_ends_a_program_is_but_the_outcome_of_a_task(pool, how, kind):
    before = run(pool, tasks.pid)
    assert type(run(pool, tasks.leave, how)) is kind
    os.kill(before, 0)  # it is there; another one, that stood in for a waiting one, may have run the task
    assert run(pool, tasks.pid)


def test_no_memory_for_an_array_is_the_tasks_error(pool, numpy):
    assert isinstance(run(pool, tasks.make_array, 1 << 60), MemoryError)


# ---- callbacks ----

def test_callbacks_see_the_very_objects_of_the_iteration(pool):
    task = pool.new_task(tasks.make_list).on_iter(tasks.note).on_success(tasks.note_success)
    assert task.on_finished(tasks.same_objects, updates_result=True).run().result(60) == [True, True]
    task = pool.new_task(tasks.fail, {'text': 'x'}).on_iter(tasks.note).on_error(tasks.note_error)
    assert task.on_finished(tasks.same_objects, updates_result=True).run().result(60) == [True, True]


def test_a_callback_sees_the_exception_and_may_replace_the_result(pool):
    task = pool.new_task(tasks.fail, {'text': 'bad'}).on_error(tasks.describe, updates_result=True)
    assert task.run().result(60) == 'ValueError: bad'


def test_what_a_callback_raises_is_raised_by_result(pool):
    for name in ('on_iter', 'on_success', 'on_finished'):
        future = getattr(pool.new_task(tasks.make_list), name)(tasks.fail_in_hook).run()
        with pytest.raises(IndexError, match='from the hook') as caught:
            future.result(60)
        assert 'in fail_in_hook' in str(caught.value.__cause__)


def test_a_callback_is_told_of_a_crash(pool):
    task = pool.new_task(tasks.die, {'how': 'SIGABRT'}).on_error(tasks.describe, updates_result=True)
    text = task.run().result(60)
    assert text.startswith('WorkerCrashed: the worker process was killed by SIGABRT (6)')


def test_a_callback_is_told_of_a_time_out(pool):
    task = pool.new_task(tasks.kill, {'number': 0}).on_error(tasks.describe, updates_result=True)
    assert task.run(timeout=2).result(60).startswith('Overtime: ')


# ---- deaths ----

@pytest.mark.parametrize('name', ['SIGSEGV', 'SIGBUS', 'SIGILL', 'SIGFPE', 'SIGABRT'])
def test_a_crash_has_its_signal_and_both_stacks(pool, name):
    error = run(pool, tasks.die, name, depth=3)
    assert isinstance(error, runium.WorkerCrashed)
    assert error.signal == getattr(signal, name) and error.exit_status is None
    assert 'worker_function' in error.native_stack
    lines = error.python_stack.splitlines()
    assert len(lines) > 3 and all('in die' in line for line in lines[:4]), error.python_stack
    assert str(error).startswith(f'the worker process was killed by {name} ({int(error.signal)})')


def test_a_crash_tells_a_hundred_calls(pool):
    lines = run(pool, tasks.die, 'SIGSEGV', depth=200).python_stack.splitlines()
    assert len(lines) == 100 and 'in string_at' in lines[-1] and 'in read_nothing' in lines[-2], lines
    assert all('in die' in line for line in lines[:98])


def test_the_address_of_a_fault_is_told(pool):
    assert 'at address 0x10: nothing is mapped there' in str(run(pool, tasks.die, 'SIGSEGV'))


def test_a_stack_overflow_is_told_and_where_python_was(pool):
    error = run(pool, tasks.die, 'overflow')
    assert 'stack overflow' in str(error) and 'in overflow' in error.python_stack


def test_a_kill_and_an_exit_have_no_stacks(pool):
    error = run(pool, tasks.die, 'SIGKILL')
    assert (error.signal, error.exit_status, error.native_stack, error.python_stack) == (9, None, '', '')
    error = run(pool, tasks.die, 'exit')
    assert (error.signal, error.exit_status) == (None, 9)


def test_a_function_that_has_crashed_often_does_not_hold_up_others(pool):
    for _ in range(5):
        assert run(pool, tasks.die, 'exit').exit_status == 9
        assert run(pool, tasks.add, 1) == 2


def test_the_other_tasks_of_a_crowd_are_not_hurt(pool):
    futures = [pool.new_task(tasks.die if i % 10 == 3 else tasks.give, args=['exit' if i % 10 == 3 else i]).run()
               for i in range(50)]
    results = [future.result(60) for future in futures]
    assert [result for i, result in enumerate(results) if i % 10 != 3] == [i for i in range(50) if i % 10 != 3]
    assert all(isinstance(result, runium.WorkerCrashed) for result in results[3::10])


# ---- the interpreter of a worker ----

STATE = '''
    import json, sys, remote_tasks
    from runium.core import Runium

    if __name__ == '__main__':
        with Runium(mode='multiprocessing', max_workers=1) as rn:
            there = rn.new_task(remote_tasks.state).run().result()
        here = remote_tasks.state()
        assert there.pop('sigint') and not here.pop('sigint')
        assert there == here, [(key, there[key], here[key]) for key in here if there[key] != here[key]]
        print('the same')
'''


@pytest.mark.parametrize('options', [(), ('-O',), ('-OO',), ('-X', 'dev'), ('-X', 'utf8'), ('-B',), ('-S',), ('-P',),
                                     ('-W', 'error', '-W', 'ignore::DeprecationWarning'), ('-X', 'faulthandler')],
                         ids=' '.join)
def test_a_worker_has_the_interpreter_of_the_program(script, options):
    ended = script(STATE, 'an', 'argument', options=options)
    assert ended.out == 'the same\n', ended


def test_what_is_printed_without_an_end_of_line_is_seen(script):
    ended = script('''
        import remote_tasks
        from runium.core import Runium

        if __name__ == '__main__':
            with Runium(mode='multiprocessing', max_workers=1) as rn:
                rn.new_task(remote_tasks.print_partly).on_success(remote_tasks.note_success).run().result()
                rn.new_task(remote_tasks.die, args=['exit']).run().result()
    ''')
    assert ended.out == 'out without an end'
    assert 'err without an end' in ended.err


def test_debug_prints_the_traceback_to_stderr(script):
    ended = script('''
        import remote_tasks
        from runium.core import Runium

        if __name__ == '__main__':
            with Runium(mode='multiprocessing', max_workers=1, debug=True) as rn:
                rn.new_task(remote_tasks.fail, args=['shown']).run().result()
    ''')
    assert 'Traceback (most recent call last)' in ended.err and 'ValueError: shown' in ended.err


def test_exit_functions_of_a_worker_run_when_the_runtime_closes(tmp_path):
    with Runium(mode='multiprocessing', max_workers=1) as rn:
        rn.new_task(tasks.keep_at_exit, args=[str(tmp_path / 'file')]).run().result(60)
    assert (tmp_path / 'file').read_text() == 'done'


def test_a_runtime_that_nobody_refers_to_closes_though_nobody_asked_for_its_last_result():
    runtime = Runium(mode='multiprocessing', max_workers=1, debug=False)
    worker = run(runtime, tasks.pid)
    future = runtime.new_task(tasks.give, args=[1]).run()
    while not future.done():
        threading.Event().wait(0.001)
    del runtime, future
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_runtime_that_nobody_refers_to_stays_for_all_runs_of_a_task_and_not_for_the_last_alone(notes):
    runtime = Runium(mode='multiprocessing', max_workers=1, debug=False)
    task = runtime.new_task(notes.add, args=['ran'])
    for _ in range(20):
        task.run(start_in=0.3)
    assert task.run().result(60) is None
    del runtime, task
    gc.collect()
    for _ in range(6000):
        if len(notes.read()) == 21:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f'{len(notes.read())} of 21 runs ran')


def test_threads_that_a_task_leaves_behind_run_while_the_worker_waits(pool, tmp_path):
    run(pool, tasks.leave_thread_behind, str(tmp_path / 'file'))
    deadline = threading.Event()
    for _ in range(600):
        if (tmp_path / 'file').exists():
            return
        deadline.wait(0.1)
    raise AssertionError('the thread did not run')


def test_a_worker_is_replaced_after_so_many_iterations():
    with Runium(mode='multiprocessing', max_workers=1, recycle_after=2) as rn:
        first, second, third = [[rn.new_task(os.getpid).run().result(60) for _ in range(2)] for _ in range(3)]
        assert len({*first}) == len({*second}) == len({*third}) == 1
        assert len({*first, *second, *third}) == 3


@pytest.mark.parametrize('mode, bad, error', [('multiprocessing', 0, ValueError), ('multiprocessing', -2 ** 70, ValueError),
                                              ('multiprocessing', '2', TypeError), ('multithreading', 2, ValueError)])
def test_a_wrong_number_of_iterations_until_a_worker_is_replaced_is_refused(mode, bad, error):
    with pytest.raises(error, match='recycle_after'):
        Runium(mode=mode, max_workers=1, recycle_after=bad)


@pytest.mark.parametrize('many', [None, 2 ** 63 - 1, 2 ** 100])
def test_a_worker_may_be_replaced_never(many):
    with Runium(mode='multiprocessing', max_workers=1, recycle_after=many) as rn:
        assert len({rn.new_task(os.getpid).run().result(60) for _ in range(20)}) == 1


@pytest.mark.parametrize('by_close', [False, True])
def test_a_stopped_task_that_goes_on_is_ended_with_its_process(tmp_path, by_close):
    with Runium(mode='multiprocessing', max_workers=1, debug=False, stop_grace='50 ms') as rn:
        future = rn.new_task(tasks.touch_and_sleep, {'path': str(tmp_path / 'file')}).run()
        while not (tmp_path / 'file').exists():
            os.sched_yield()
        if by_close:
            assert rn.close('stop') is True
        else:
            assert future.stop() is True
        error = future.result(60)
        assert isinstance(error, runium.Overtime)
        assert '.stop_grace of 50 ms: SIGTERM ended it after' in str(error)


@pytest.mark.parametrize('mode, bad, error', [('multiprocessing', 0, ValueError), ('multiprocessing', -1, ValueError),
                                              ('multiprocessing', 'soon', ValueError), ('multiprocessing', [], TypeError),
                                              ('multithreading', 2, ValueError)])
def test_a_wrong_grace_of_stopped_tasks_is_refused(mode, bad, error):
    with pytest.raises(error, match='stop_grace'):
        Runium(mode=mode, max_workers=1, stop_grace=bad)


# ---- functions of a script ----

MAIN = '''
    import sys
    from runium.core import Runium

    class Mine(Exception):
        pass

    class Box:
        def __init__(self, value):
            self.value = value

    factor = 7
    print('loaded', __name__)

    def times(x):
        return x * factor

    def box(x):
        assert isinstance(x, Box)
        return Box(x.value + 1)

    def fail():
        raise Mine('of a script')

    if __name__ == '__main__':
        with Runium(mode='multiprocessing', max_workers=1, debug=False) as rn:
            assert rn.new_task(times, {'x': 6}).run().result() == 42
            result = rn.new_task(box, {'x': Box(1)}).run().result()
            assert type(result) is Box and result.value == 2
            error = rn.new_task(fail).run().result()
            assert type(error) is Mine and error.args == ('of a script',), error
            assert rn.new_task(times, args=[3]).on_success(times, updates_result=True).run().result() == 147
        print('all')
'''
WITHOUT_CLOUDPICKLE = 'import sys; sys.modules["cloudpickle"] = None\n'


def test_functions_and_classes_of_a_script_travel_by_cloudpickle(script):
    pytest.importorskip('cloudpickle')
    ended = script(MAIN)
    assert ended.out == 'loaded __main__\nall\n', ended


def test_without_cloudpickle_a_worker_imports_the_script(script):
    ended = script(WITHOUT_CLOUDPICKLE + textwrap.dedent(MAIN))
    # Two processes write to one pipe: in which order is not said.
    assert sorted(ended.out.splitlines()) == ['all', 'loaded __main__', 'loaded __mp_main__'], ended


def test_without_cloudpickle_a_module_that_is_run_is_imported_by_its_name(script, tmp_path):
    (tmp_path / 'package').mkdir()
    (tmp_path / 'package' / '__init__.py').write_text('')
    (tmp_path / 'package' / 'part.py').write_text(WITHOUT_CLOUDPICKLE + textwrap.dedent(MAIN))
    ended = script('', options=('-m', 'package.part'))
    # Two processes write to one pipe: in which order is not said.
    assert sorted(ended.out.splitlines()) == ['all', 'loaded __main__', 'loaded __mp_main__'], ended


def test_without_cloudpickle_a_lambda_is_named_as_what_cannot_be_pickled(script):
    ended = script(WITHOUT_CLOUDPICKLE + textwrap.dedent('''
        import runium
        from runium.core import Runium

        if __name__ == '__main__':
            with Runium(mode='multiprocessing', max_workers=1) as rn:
                try:
                    rn.new_task(lambda: 1).run().result()
                except runium.NotPicklable as error:
                    print(error)
    '''))
    assert ended.out.startswith('function: ') and '<lambda>' in ended.out, ended


def test_a_script_without_a_guard_is_not_run_again(script):
    pytest.importorskip('cloudpickle')
    ended = script('''
        from runium.core import Runium

        def double(x):
            return 2 * x

        print('once')
        rn = Runium(mode='multiprocessing', max_workers=2)
        print(rn.new_task(double, {'x': 21}).run().result())
    ''')
    assert ended.out == 'once\n42\n', ended


HAS_A_RUNTIME = '''
    import sys
    import runium
    from runium.core import Runium

    def say(result):
        print(repr(result), *getattr(result, '__notes__', ()))

    def workers():
        return rn.max_workers

    class Kind:
        pass
'''
BY_NAME = "it cannot go as it is: function (global 'rn'): cannot pickle 'Runium' object"


def test_what_a_function_of_a_script_cannot_take_along_is_named_where_there_is_no_guard(script, tmp_path):
    pytest.importorskip('cloudpickle')
    ended = script(HAS_A_RUNTIME + '''
    rn = Runium(mode='multiprocessing', max_workers=1, debug=False)
    say(rn.new_task(workers).run().result())
    ''')
    assert BY_NAME in ended.out and "below `if __name__ == '__main__':`" in ended.out, ended
    assert len(ended.out.splitlines()) == 1 and str(tmp_path / 'script.py') in ended.out


def test_what_a_function_of_a_script_cannot_take_along_is_named_where_it_is_below_the_guard(script):
    pytest.importorskip('cloudpickle')
    ended = script(HAS_A_RUNTIME + '''
    if __name__ == '__main__':
        def late():
            return rn
        rn = Runium(mode='multiprocessing', max_workers=1, debug=False)
        say(rn.new_task(late).run().result())
        say(rn.new_task(workers).run().result())
    ''')
    late, early = ended.out.splitlines()
    assert "'late' is not there once a worker process has imported the main file" in late and BY_NAME in late, ended
    assert early.startswith('NameError') and "makes no 'rn'" in early and 'as an argument' in early, ended


def test_a_name_error_that_is_not_for_want_of_the_main_file_is_left_alone(script):
    ended = script(WITHOUT_CLOUDPICKLE + textwrap.dedent(HAS_A_RUNTIME) + textwrap.dedent('''
    import remote_tasks

    if __name__ == '__main__':
        rn = Runium(mode='multiprocessing', max_workers=1, debug=False)
        say(rn.new_task(workers).run().result())
        say(rn.new_task(remote_tasks.ask_for_nothing).run().result())
    '''))
    first, second = ended.out.splitlines()
    assert 'main file' in first and second == repr(NameError("name 'nothing' is not defined")), ended


def run_text(script, text, *without):
    """Runs a program that has no file."""
    return script('', options=('-c', ''.join(without) + textwrap.dedent(text)))


def test_a_program_without_a_file_is_told_at_once_what_its_functions_cannot_take_along(script):
    pytest.importorskip('cloudpickle')
    ended = run_text(script, HAS_A_RUNTIME + '''
    rn = Runium(mode='multiprocessing', max_workers=1)
    say(rn.new_task(workers).run().exception())
    ''')
    assert "function (global 'rn'): cannot pickle 'Runium' object; and 'workers' is of __main__" in ended.out, ended


def test_a_program_without_a_file_and_without_cloudpickle_is_told_what_to_do(script):
    ended = run_text(script, HAS_A_RUNTIME + '''
    rn = Runium(mode='multiprocessing', max_workers=1)
    say(rn.new_task(workers).run().exception())
    say(rn.new_task(repr, args=[Kind()]).run().exception())
    say(rn.new_task(len, args=['__main__']).run().result())
    say(rn.new_task(len, args=[['__main__', 'workers', '__main__', ('workers', '__main__')]]).run().result())
    ''', WITHOUT_CLOUDPICKLE)
    function, kind, *lengths = ended.out.splitlines()
    assert "'workers' is of __main__" in function and 'install cloudpickle' in function, ended
    assert "'Kind' is of __main__" in kind and lengths == ['8', '4'], ended


def test_a_worker_of_a_worker_imports_the_script_too(script):
    ended = script(WITHOUT_CLOUDPICKLE + textwrap.dedent('''
        from runium.core import Runium

        def double(x):
            return 2 * x

        def double_elsewhere(x):
            with Runium(mode='multiprocessing', max_workers=1) as inner:
                return inner.new_task(double, args=[x]).run().result()

        if __name__ == '__main__':
            with Runium(mode='multiprocessing', max_workers=1) as rn:
                print(rn.new_task(double_elsewhere, args=[21]).run().result())
    '''))
    assert ended.out == '42\n', ended
