"""The classes and functions that a program sees: what they accept, what they refuse, and what they give."""
import collections
import concurrent.futures
import datetime
import functools
import gc
import inspect
import logging
import pathlib
import sys
import time
import types
import weakref

import pytest

import runium
import tasks
from runium import errors
from runium.core import Runium
from runium.util import get_seconds


# -- importing ------------------------------------------------------------------------------------

def test_core_has_runium_and_the_package_has_the_errors():
    import runium.core
    assert runium.core.Runium is Runium
    for name in ('RuniumError', 'Closed', 'Deadlock', 'Forked', 'NotPicklable', 'Overtime', 'Quarantined',
                 'WorkerCrashed'):
        assert getattr(runium, name) is getattr(errors, name)


def test_the_package_says_that_it_has_types():
    folder = pathlib.Path(runium.__file__).parent
    assert (folder / 'py.typed').exists()


def test_everything_public_has_a_docstring():
    things = [runium, Runium, Runium.new_task, Runium.pending_tasks, Runium.close, runium.new_task, get_seconds]
    task = Runium.new_task(runium_of_test(), tasks.yes)
    things += [type(task), task.run, task.on_iter, task.on_success, task.on_error, task.on_finished]
    assert [thing for thing in things if not inspect.getdoc(thing)] == []


def runium_of_test():
    return runium_of_test.runtime


@pytest.fixture(autouse=True)
def _a_runtime(shared):
    runium_of_test.runtime = shared('multithreading')


def test_the_module_itself_runs_tasks_on_a_default_runtime():
    assert runium.new_task(tasks.yes).run().result() is True
    assert runium.new_task(tasks.echo, {'value': 3}).run().result() == 3


def test_the_default_runtime_is_made_at_first_use_and_only_then(script):
    ended = script('''
        import threading, os, runium
        print(len(os.listdir('/proc/self/task')))
        print(runium.new_task(int).run().result())
    ''')
    assert (ended.status, ended.out, ended.err) == (0, '1\n0\n', ''), ended


# -- Runium(...) ----------------------------------------------------------------------------------

def test_the_signatures_are_those_of_the_original():
    assert str(inspect.signature(Runium.__init__)).startswith(
        "(self, mode='multithreading', max_workers=None, debug=True") or \
        str(inspect.signature(Runium)).startswith("(mode='multithreading', max_workers=None, debug=True")


def test_a_runtime_tells_its_mode_its_workers_and_debug(open_runtime, mode):
    runtime = open_runtime(mode, 3, True)
    assert (runtime.mode, runtime.max_workers, runtime.debug) == (mode, 3, True)


def test_arguments_may_be_given_by_position(mode):
    runtime = Runium(mode, 1, False)
    assert runtime.new_task(tasks.yes, {}).run(None, 2, 0).result() is True
    assert runtime.close() is True


def test_without_max_workers_there_is_at_least_one(open_runtime, mode):
    runtime = open_runtime(mode, None)
    assert runtime.max_workers >= 1
    assert runtime.new_task(tasks.yes).run().result() is True


@pytest.mark.parametrize('bad', ['threads', '', 'Multithreading', None, 3, b'multithreading'])
def test_a_wrong_mode_is_a_value_error_that_names_it_and_the_two(bad):
    with pytest.raises(ValueError) as caught:
        Runium(mode=bad)
    text = str(caught.value)
    assert repr(bad) in text and 'multithreading' in text and 'multiprocessing' in text


@pytest.mark.parametrize('bad, kind', [(0, ValueError), (-1, ValueError), (1025, ValueError), (2 ** 70, ValueError),
                                       ('4', TypeError), (2.5, TypeError), ([], TypeError)])
def test_a_wrong_number_of_workers_is_refused_by_name(bad, kind, mode):
    with pytest.raises(kind) as caught:
        Runium(mode=mode, max_workers=bad)
    assert 'max_workers' in str(caught.value)
    assert (repr(bad) if kind is ValueError else type(bad).__name__) in str(caught.value)


def test_what_is_no_parameter_is_refused():
    with pytest.raises(TypeError, match='workers'):
        Runium(workers=3)


def test_a_subclass_of_runium_works():
    class Mine(Runium):
        def twice(self, fn):
            return [self.new_task(fn).run().result() for _ in range(2)]

    mine = Mine(max_workers=1)
    assert mine.twice(tasks.yes) == [True, True]
    mine.close()


# -- new_task(...) --------------------------------------------------------------------------------

def test_making_a_task_runs_nothing(rn, notes):
    task = rn.new_task(notes.add, args=('ran',))
    assert notes.read() == [] and task.future is None
    task.run().result()
    assert notes.read() == ['ran']


def test_kwargs_are_the_arguments(rn):
    assert rn.new_task(tasks.echo, kwargs={'value': 'Spam'}).run().result() == 'Spam'
    assert rn.new_task(tasks.spread, {'a': 1, 'b': [2]}).run().result() == ((), {'a': 1, 'b': [2]})


def test_args_are_the_arguments_by_position(rn):
    assert rn.new_task(tasks.spread, args=(1, 2)).run().result() == ((1, 2), {})
    assert rn.new_task(tasks.spread, {'c': 3}, args=[1, 2]).run().result() == ((1, 2), {'c': 3})


def test_args_and_name_are_keyword_only(rn):
    with pytest.raises(TypeError):
        rn.new_task(tasks.spread, {}, (1,))
    with pytest.raises(TypeError):
        rn.new_task(tasks.spread, {}, (1,), 'name')


def test_any_mapping_is_good_for_kwargs(threads):
    for mapping in (types.MappingProxyType({'value': 1}), collections.OrderedDict(value=1), collections.UserDict(value=1)):
        assert threads.new_task(tasks.echo, mapping).run().result() == 1


def test_the_default_of_kwargs_is_not_shared(rn):
    assert rn.new_task(tasks.change_my_kwargs).run().result() == ['more']
    assert rn.new_task(tasks.spread).run().result() == ((), {})
    task = rn.new_task(tasks.change_my_kwargs)
    assert [task.run(times=2).result(), task.run().result()] == [['more'], ['more']]


def test_a_task_that_changes_its_kwargs_does_not_change_those_of_the_next_iteration(rn):
    given = {'a': 1}
    assert rn.new_task(tasks.change_my_kwargs, given).run(times=3).result() == ['a', 'more']
    assert given == {'a': 1}


@pytest.mark.parametrize('bad', [None, 3, 'print', object()])
def test_what_cannot_be_called_is_refused(rn, bad):
    with pytest.raises(TypeError, match='call') as caught:
        rn.new_task(bad)
    assert repr(bad) in str(caught.value) or type(bad).__name__ in str(caught.value)


@pytest.mark.parametrize('bad', [3, 'ab', ['a'], {'a'}])
def test_what_are_no_kwargs_is_refused(rn, bad):
    with pytest.raises(TypeError, match='kwargs|keyword|str'):
        rn.new_task(tasks.spread, bad)


@pytest.mark.parametrize('bad', [3, object()])
def test_what_are_no_args_is_refused(rn, bad):
    with pytest.raises(TypeError, match='args'):
        rn.new_task(tasks.spread, args=bad)


@pytest.mark.parametrize('bad', [3, b'name', []])
def test_a_name_that_is_no_text_is_refused(rn, bad):
    with pytest.raises(TypeError, match='name'):
        rn.new_task(tasks.yes, name=bad)


def test_a_task_has_an_id_of_its_own_and_a_name(rn):
    first, second = rn.new_task(tasks.yes), rn.new_task(tasks.yes, name='letter to Bob')
    assert isinstance(first.id, int) and first.id != second.id
    assert (first.name, second.name) == ('yes', 'letter to Bob')
    assert 'yes' in repr(first) and 'letter to Bob' in repr(second)


def test_a_task_without_a_function_name_has_one_all_the_same(threads):
    assert isinstance(threads.new_task(functools.partial(tasks.yes)).name, str)


def test_its_attributes_cannot_be_set(rn):
    task = rn.new_task(tasks.yes)
    for name in ('id', 'name'):
        with pytest.raises(AttributeError):
            setattr(task, name, 3)


# -- the parameter `runium` -----------------------------------------------------------------------

def test_a_parameter_named_runium_gets_iterations_and_those_remaining(rn, notes):
    assert rn.new_task(tasks.note_iteration, {'notes': notes}).run(times=3).result() == 3
    assert notes.read() == ['1 2', '2 1', '3 0']


def test_the_dict_has_these_two_and_nothing_else(rn):
    assert rn.new_task(tasks.with_runium).run().result() == {'iterations': 1, 'iterations_remaining': 0}


def test_without_end_none_remain_to_be_counted(rn, notes, gate):
    future = rn.new_task(tasks.say_remaining, {'gate': gate, 'notes': notes}).run(every=0.01)
    gate.wait(2)
    future.stop()
    assert future.result() >= 2
    assert notes.read()[:2] == ['1 None', '2 None']


def test_it_goes_with_other_arguments(rn):
    task = rn.new_task(tasks.with_runium_and_more, {'second': 'b'}, args=('a',))
    assert task.run(times=2).result() == ('a', 'b', 2, 0)


def test_the_dict_is_the_functions_own(threads):
    seen = []

    def function(runium):
        seen.append(runium)
        runium['iterations'] = 'changed'

    threads.new_task(function).run(times=2).result()
    assert seen[0] is not seen[1]


class Method:
    def plain(self, runium):
        return runium['iterations']

    @classmethod
    def of_class(cls, runium):
        return runium['iterations']

    @staticmethod
    def static(runium=None):
        return runium['iterations']

    def __call__(self, runium):
        return runium['iterations']


def wrapper_of(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper


@pytest.mark.parametrize('function', [
    Method().plain, Method.of_class, Method.static, Method(), functools.partial(Method().plain),
    lambda runium: runium['iterations'], lambda *, runium: runium['iterations'],
    wrapper_of(Method().plain)], ids=range(8))
def test_anything_callable_with_that_parameter_gets_it(threads, function):
    assert threads.new_task(function).run(times=2).result() == 2


@pytest.mark.parametrize('function, kwargs, result', [
    (dict, {'a': 1}, {'a': 1}), (int, {}, 0), (functools.partial(max, 1), {'key': None}, None),
    (lambda **kwargs: sorted(kwargs), {'a': 1}, ['a']), (str.upper, None, None)], ids=range(5))
def test_what_has_no_such_parameter_or_no_signature_does_not_get_it(threads, function, kwargs, result):
    if kwargs is None:
        assert threads.new_task(function, args=('a',)).run().result() == 'A'
    elif result is None:
        assert threads.new_task(function, kwargs, args=(2,)).run().result() == 2
    else:
        assert threads.new_task(function, kwargs).run().result() == result


# -- callbacks ------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['on_iter', 'on_success', 'on_error', 'on_finished'])
def test_each_callback_setter_returns_the_task(rn, name):
    task = rn.new_task(tasks.yes)
    assert getattr(task, name)(tasks.echo) is task
    assert getattr(task, name)(fn=tasks.echo, updates_result=True) is task
    assert getattr(task, name)(tasks.echo, True) is task


@pytest.mark.parametrize('name', ['on_iter', 'on_success', 'on_error', 'on_finished'])
@pytest.mark.parametrize('bad', [3, 'callback', object()])
def test_a_callback_that_cannot_be_called_is_refused(rn, name, bad):
    with pytest.raises(TypeError, match='call') as caught:
        getattr(rn.new_task(tasks.yes), name)(bad)
    assert repr(bad) in str(caught.value) or type(bad).__name__ in str(caught.value)


def test_none_takes_a_callback_away(rn, notes):
    task = tasks.Hooks(notes).attach(rn.new_task(tasks.yes), updates=['on_success'])
    for name in ('on_iter', 'on_success', 'on_finished'):
        assert getattr(task, name)(None, updates_result=True) is task
    assert task.run().result() is True
    assert notes.read() == []


def test_of_two_callbacks_of_one_kind_the_last_holds(rn, notes):
    first, second = tasks.Hooks(notes, {'on_success': 1}), tasks.Hooks(notes, {'on_success': 2})
    task = rn.new_task(tasks.yes).on_success(first.on_success, True).on_success(second.on_success, True)
    assert task.run().result() == 2
    assert notes.read() == ['on_success True']


@pytest.mark.parametrize('name', ['on_iter', 'on_success', 'on_error', 'on_finished'])
def test_each_callback_can_replace_the_result(rn, notes, name):
    hooks = tasks.Hooks(notes, {name: f'of {name}'})
    task = hooks.attach(rn.new_task(tasks.fail if name == 'on_error' else tasks.yes), updates=[name])
    assert task.run(times=2).result() == f'of {name}'


def test_a_task_that_returns_none_has_succeeded(rn, notes):
    assert tasks.Hooks(notes).attach(rn.new_task(tasks.none)).run().result() is None
    assert notes.read() == ['on_iter None None', 'on_success None', 'on_finished None None']


def test_an_exception_raised_by_a_callback_is_raised_by_result(rn, notes):
    future = tasks.Hooks(notes, raises=['on_success']).attach(rn.new_task(tasks.yes)).run()
    with pytest.raises(RuntimeError, match='on_success'):
        future.result()
    assert isinstance(future.exception(), RuntimeError)


# -- results --------------------------------------------------------------------------------------

def test_result_returns_the_exception_that_the_task_raised(rn):
    future = rn.new_task(tasks.fail, {'message': 'ni'}).run()
    result = future.result()
    assert type(result) is ValueError and result.args == ('ni',)
    assert future.exception() is None
    assert future.done() and not future.cancelled()


def test_exceptions_of_the_user_come_back_as_they_are(rn):
    result = rn.new_task(tasks.fail_custom).run().result()
    assert type(result) is tasks.Custom and result.args == ('one', 2) and result.extra == 'one'


def test_an_exception_that_is_returned_and_one_that_is_raised_differ_for_the_callbacks(rn, notes):
    error = ValueError('a value')
    assert str(tasks.Hooks(notes).attach(rn.new_task(tasks.echo, {'value': error})).run().result()) == 'a value'
    assert notes.read()[1] == 'on_success ValueError(a value)'


@pytest.mark.parametrize('value', [None, 0, False, '', 1.5, 2 ** 80, 'text \u20ac \0', b'bytes \0', [1, [2]], {'a': {1}},
                                   float('inf'), -1, 2 ** 63, -2 ** 63])
def test_values_come_back_as_they_are(rn, value):
    result = rn.new_task(tasks.echo, {'value': value}).run().result()
    assert result == value and type(result) is type(value)


def test_in_threads_objects_are_not_copied(threads):
    value = object()
    assert threads.new_task(tasks.echo, {'value': value}).run().result() is value
    error = ValueError()
    assert threads.new_task(tasks.raise_this, {'error': error}).run().result() is error


# -- running --------------------------------------------------------------------------------------

def test_run_returns_a_future_and_the_task_has_it(rn):
    task = rn.new_task(tasks.yes)
    future = task.run()
    assert isinstance(future, concurrent.futures.Future)
    assert task.future is future
    assert future.result() is True


def test_a_task_runs_many_times_and_each_run_has_a_future_of_its_own(rn, notes):
    task = rn.new_task(notes.add, args=('ran',))
    futures = [task.run() for _ in range(20)]
    assert len(set(map(id, futures))) == 20 and task.future is futures[-1]
    concurrent.futures.wait(futures)
    assert notes.read() == ['ran'] * 20


def test_runs_of_one_task_go_side_by_side(rn, gate):
    task = rn.new_task(tasks.enter, {'gate': gate})
    first, second = task.run(), task.run()
    gate.wait(2)
    gate.open()
    assert first.result() == second.result() == 'through'


def test_a_run_is_as_the_task_was_when_it_began(rn, gate, notes):
    task = rn.new_task(tasks.enter, {'gate': gate}).on_success(tasks.Hooks(notes, {'on_success': 'old'}).on_success, True)
    first = task.run()
    gate.wait()
    task.on_success(tasks.Hooks(notes, {'on_success': 'new'}).on_success, True)
    second = task.run()
    gate.open()
    assert (first.result(), second.result()) == ('old', 'new')


def test_kwargs_that_change_after_run_do_not_change_the_run(rn, gate):
    kwargs = {'gate': gate, 'value': 'as it was'}
    blocker = rn.new_task(tasks.spread, kwargs)
    task = rn.new_task(tasks.enter, kwargs)
    future = task.run(start_in=0.05)
    kwargs['value'] = 'changed'
    del kwargs['gate']
    gate.open()
    assert future.result() == 'as it was'
    assert blocker is not None


def test_times_is_how_often(rn, notes):
    assert rn.new_task(tasks.note_iteration, {'notes': notes}).run(times=5).result() == 5
    assert len(notes.read()) == 5


def test_every_takes_text_and_numbers(rn, notes):
    for every in ('10 ms', 0.01, '0.01 seconds', '0.01 second'):
        assert rn.new_task(tasks.note_iteration, {'notes': notes}).run(every=every, times=2).result() == 2
    assert len(notes.read()) == 8


def test_start_in_delays_the_first_iteration(rn, notes):
    for start_in in (0.05, '50 ms', '0.05 seconds'):
        before = time.monotonic()
        assert rn.new_task(tasks.yes).run(start_in=start_in).result() is True
        assert time.monotonic() - before >= 0.05


def test_start_in_none_is_at_once(rn):
    assert rn.new_task(tasks.yes).run(start_in=None).result() is True


def test_every_is_a_period(rn):
    before = time.monotonic()
    rn.new_task(tasks.yes).run(every=0.05, times=4).result()
    assert time.monotonic() - before >= 0.15


@pytest.mark.parametrize('form', ['datetime', 'aware', 'text', 'number'])
def test_at_is_a_date_and_time(rn, form):
    moment = datetime.datetime.now() + datetime.timedelta(seconds=0.2)
    at = {'datetime': moment, 'aware': moment.astimezone(datetime.timezone.utc), 'number': moment.timestamp(),
          'text': moment.strftime('%Y-%m-%d %H:%M:%S')}[form]  # whole seconds: maybe gone by, which is at once
    assert rn.new_task(tasks.yes).run(at=at).result() is True
    if form != 'text':
        assert datetime.datetime.now() >= moment


def test_a_time_that_has_gone_by_is_at_once(rn):
    for at in (datetime.datetime(1999, 1, 1), '1999-12-31 23:59', 1.0):
        assert rn.new_task(tasks.yes).run(at=at).result() is True


def test_a_run_for_a_far_day_waits(rn):
    futures = [rn.new_task(tasks.yes).run(at=at) for at in ('2090-01-01 00:00', datetime.datetime(2090, 1, 1), 3786912000)]
    assert [future.cancel() for future in futures] == [True] * 3


def test_at_and_timeout_are_keyword_only(rn):
    with pytest.raises(TypeError):
        rn.new_task(tasks.yes).run(None, None, 0, '1999-12-31 23:59')


BAD = [
    ({'every': -1}, ValueError), ({'every': '-1 second'}, ValueError), ({'every': float('nan')}, ValueError),
    ({'every': float('inf')}, ValueError), ({'every': 'soon'}, ValueError), ({'every': '10 months'}, ValueError),
    ({'every': ''}, ValueError), ({'every': 1e30}, ValueError), ({'every': '1 second'.encode()}, TypeError),
    ({'every': [10]}, TypeError), ({'every': object()}, TypeError),
    ({'start_in': -0.5}, ValueError), ({'start_in': float('nan')}, ValueError), ({'start_in': '5 parsecs'}, ValueError),
    ({'start_in': {}}, TypeError), ({'start_in': float('-inf')}, ValueError),
    ({'times': 0}, ValueError), ({'times': -1}, ValueError), ({'times': -2 ** 70}, ValueError), ({'times': 1.5}, TypeError),
    ({'times': '3'}, TypeError), ({'times': []}, TypeError),
    ({'at': 'tomorrow'}, ValueError), ({'at': '2030-13-01 10:00'}, ValueError), ({'at': float('nan')}, ValueError),
    ({'at': []}, TypeError), ({'at': datetime.datetime(1901, 1, 1)}, ValueError), ({'at': 1e10}, ValueError),
]


@pytest.mark.parametrize('bad, kind', BAD, ids=[str(bad) for bad, _ in BAD])
def test_what_is_no_schedule_is_refused_with_the_parameter_and_the_value(rn, bad, kind):
    task = rn.new_task(tasks.yes)
    with pytest.raises(kind) as caught:
        task.run(**bad)
    (name, value), = bad.items()
    text = str(caught.value)
    assert name in text, text
    shown = type(value).__name__ if kind is TypeError else value if isinstance(value, str) else repr(value)
    assert shown in text, text
    assert task.future is None


@pytest.mark.parametrize('bad', ['10 months', '5 parsecs'])
def test_a_wrong_unit_is_refused_with_those_that_there_are(rn, bad):
    with pytest.raises(ValueError) as caught:
        rn.new_task(tasks.yes).run(every=bad)
    for unit in ('second', 'minute', 'hour', 'day'):
        assert unit in str(caught.value)


def test_what_cannot_be_both_is_refused(rn):
    with pytest.raises(ValueError, match='at'):
        rn.new_task(tasks.yes).run(start_in=5, at='2090-01-01 00:00')


def test_run_refuses_what_is_no_parameter(rn):
    with pytest.raises(TypeError, match='evry'):
        rn.new_task(tasks.yes).run(evry=3)


def test_integers_that_are_not_int_are_good_too(rn, numpy):
    assert rn.new_task(tasks.yes).run(times=numpy.int64(2)).result() is True


# -- pending_tasks() ------------------------------------------------------------------------------

def test_pending_tasks_has_those_not_run_and_those_not_done(open_runtime, mode, gate):
    runtime = open_runtime(mode)
    assert runtime.pending_tasks() == {}
    idle, running, late = runtime.new_task(tasks.yes), runtime.new_task(tasks.enter, {'gate': gate}), runtime.new_task(tasks.yes)
    assert runtime.pending_tasks() == {idle.id: idle, running.id: running, late.id: late}
    future, waits = running.run(), late.run(start_in=3600)
    gate.wait()
    assert set(runtime.pending_tasks()) == {idle.id, running.id, late.id}
    gate.open()
    future.result()
    assert runtime.pending_tasks() == {idle.id: idle, late.id: late}
    waits.cancel()
    assert runtime.pending_tasks() == {idle.id: idle}
    idle.run().result()
    assert runtime.pending_tasks() == {}


def test_a_task_is_gone_from_the_list_when_its_result_is_there(open_runtime, mode):
    runtime = open_runtime(mode)
    for _ in range(50):
        runtime.new_task(tasks.yes).run().result()
        assert runtime.pending_tasks() == {}


def test_a_task_that_runs_again_is_pending_again(open_runtime, mode, gate):
    runtime = open_runtime(mode)
    task = runtime.new_task(tasks.enter, {'gate': gate})
    gate.open()
    task.run().result()
    assert runtime.pending_tasks() == {}
    gate.wait()
    future = task.run(start_in=3600)
    assert runtime.pending_tasks() == {task.id: task}
    assert future.cancel()
    assert runtime.pending_tasks() == {}


def test_of_a_task_with_two_runs_the_last_one_counts(open_runtime, mode):
    runtime = open_runtime(mode)
    task = runtime.new_task(tasks.yes)
    first, second = task.run(), task.run(start_in=3600)
    first.result()
    assert runtime.pending_tasks() == {task.id: task}
    second.cancel()
    assert runtime.pending_tasks() == {}


def test_the_dict_is_the_callers_to_change(open_runtime):
    runtime = open_runtime()
    task = runtime.new_task(tasks.yes)
    runtime.pending_tasks().clear()
    assert runtime.pending_tasks() == {task.id: task}


def test_a_task_that_nobody_keeps_still_runs(rn, notes):
    rn.new_task(notes.add, args=('ran',)).run()
    rn.new_task(notes.add, args=('ran',)).run().result()
    while len(notes.read()) < 2:
        time.sleep(0.001)
    assert notes.read() == ['ran', 'ran']


# -- debug ----------------------------------------------------------------------------------------

def test_debug_prints_the_traceback_of_each_failed_iteration_to_stderr(open_runtime, mode, capfd, caplog):
    runtime = open_runtime(mode, debug=True)
    runtime.new_task(tasks.fail, {'message': 'the message'}).run(times=2).result()
    runtime.close()
    err = capfd.readouterr().err
    assert err.count('Traceback (most recent call last):') >= 2
    assert err.count('ValueError: the message') == 2
    assert err.count('in fail') >= 2 and 'tasks.py' in err
    assert caplog.records == []


def test_without_debug_the_logger_runium_has_it_and_stderr_nothing(open_runtime, mode, capfd, caplog):
    runtime = open_runtime(mode, debug=False)
    with caplog.at_level(logging.INFO, logger='runium'):
        runtime.new_task(tasks.fail, {'message': 'the message'}).run(times=2).result()
        runtime.close()
    assert capfd.readouterr().err == ''
    records = [record for record in caplog.records if record.name.split('.')[0] == 'runium']
    assert len(records) == 2
    for record in records:
        assert record.levelno == logging.ERROR
        assert 'the message' in record.getMessage() + str(record.exc_info) and 'fail' in record.getMessage()


def test_debug_goes_to_what_is_sys_stderr_then(open_runtime, monkeypatch):
    import io
    text = io.StringIO()
    runtime = open_runtime('multithreading', debug=True)
    monkeypatch.setattr(sys, 'stderr', text)
    runtime.new_task(tasks.fail, {'message': 'the message'}).run().result()
    assert 'ValueError: the message' in text.getvalue()


def test_debug_is_on_by_default(script):
    ended = script('''
        from runium.core import Runium
        print(type(Runium().new_task(int, args=('x',)).run().result()).__name__)
    ''')
    assert (ended.status, ended.out) == (0, 'ValueError\n'), ended
    assert "ValueError: invalid literal for int() with base 10: 'x'" in ended.err


# -- close() --------------------------------------------------------------------------------------

def test_a_closed_runtime_fails_its_runs_and_says_so(open_runtime, mode):
    runtime = open_runtime(mode)
    task = runtime.new_task(tasks.yes)
    assert runtime.close() is True
    future = task.run()
    assert future.done()
    with pytest.raises(errors.Closed):
        future.result()
    with pytest.raises(errors.Closed):
        runtime.new_task(tasks.yes).run().result()


def test_a_run_that_is_to_come_keeps_its_runtime_open_though_nobody_refers_to_either(mode, gate):
    runtime = Runium(mode=mode, max_workers=1, debug=False)
    future = weakref.ref(runtime.new_task(tasks.enter, {'gate': gate}).run(start_in=0.1))
    del runtime
    gc.collect()
    gate.wait()
    gate.open()
    if waited := future():
        assert waited.result() == 'through'


def test_a_closed_runtime_keeps_no_task_that_is_run_in_it(open_runtime, mode):
    runtime = open_runtime(mode)
    runtime.close()
    task = runtime.new_task(tasks.yes)
    task.run()
    gone = weakref.ref(task)
    del task
    assert gone() is None


def test_close_refuses_what_it_does_not_know(open_runtime):
    runtime = open_runtime()
    with pytest.raises(ValueError) as caught:
        runtime.close('kill')
    assert "'kill'" in str(caught.value) and 'drain' in str(caught.value) and 'stop' in str(caught.value)
    with pytest.raises(ValueError):
        runtime.close(within=-1)
    with pytest.raises(TypeError):
        runtime.close(within=[])
    assert runtime.new_task(tasks.yes).run().result() is True


def test_close_by_a_deadline_says_that_it_is_not_done(open_runtime, mode, gate):
    runtime = open_runtime(mode)
    future = runtime.new_task(tasks.enter, {'gate': gate}).run()
    gate.wait()
    assert runtime.close('stop', within=0.05) is False
    gate.open()
    assert future.result() == 'through'
    assert runtime.close(within='1 minute') is True


# -- get_seconds() --------------------------------------------------------------------------------

@pytest.mark.parametrize('given, seconds', [
    (10, 10), (1.2, 1.2), (0, 0), (None, None), ('1 second', 1), ('10 seconds', 10), ('1 minute', 60), ('10 minutes', 600),
    ('1 hour', 3600), ('10 hours', 36000), ('1 day', 86400), ('10 days', 864000), ('0 seconds', 0)])
def test_get_seconds_gives_what_the_original_gives(given, seconds):
    result = get_seconds(given)
    assert result == seconds and type(result) is type(seconds)


@pytest.mark.parametrize('given, seconds', [
    ('1.5 hours', 5400), ('250 ms', 0.25), ('2 weeks', 1209600), ('3 us', 3e-6), ('7 ns', 7e-9), ('10 s', 10), ('2 m', 120),
    ('1 h', 3600), ('1 d', 86400), ('1 w', 604800), ('2 MINUTES', 120), ('5 min', 300), ('10', 10)])
def test_get_seconds_knows_more_units(given, seconds):
    assert get_seconds(given) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize('bad', ['abcd', '10 months', '', ' ', 'ten seconds', '10 seconds ago', '1 2 seconds', 'seconds 10',
                                 '\u0661 second', '1e999 seconds', 'nan seconds', '-5 seconds', '5\0 seconds'])
def test_get_seconds_raises_a_value_error_for_text_that_is_no_duration(bad):
    with pytest.raises(ValueError):
        get_seconds(bad)


def test_get_seconds_names_the_text_and_the_units():
    with pytest.raises(ValueError) as caught:
        get_seconds('10 months')
    for word in ('10 months', 'second', 'minute', 'hour', 'day'):
        assert word in str(caught.value)


@pytest.mark.parametrize('bad', [[10], {}, object(), b'10 seconds', (1, 'second'), 1j])
def test_get_seconds_raises_a_type_error_for_what_is_neither_text_nor_number(bad):
    with pytest.raises(TypeError) as caught:
        get_seconds(bad)
    assert type(bad).__name__ in str(caught.value)
