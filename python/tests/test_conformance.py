"""The rules of tests/conformance/rules.txt, from Python, in both modes: the name of a test begins with its rule's number."""
import concurrent.futures
import contextlib
import datetime
import logging
import os
import pathlib
import re
import sys
import threading
import time

import pytest

import runium
import tasks
from runium import errors
from runium.util import get_seconds

RULES = pathlib.Path(__file__).resolve().parents[2] / 'tests' / 'conformance' / 'rules.txt'

# Rules without a test here, and why.
WITHOUT_TEST = {
    'E4': 'no release retries yet',
}
# Rules that hold in one mode only, as in C.
ONE_MODE = {'C9': 'multiprocessing', 'E3': 'multiprocessing'}

only_processes = pytest.mark.parametrize('rn', ['multiprocessing'], indirect=True)


def rules():
    lines = [line.split(None, 2) for line in RULES.read_text().splitlines() if line.strip() and not line.startswith('#')]
    return {number: executors for number, executors, _ in lines}


def numbers_tested():
    names = [name for name, value in globals().items() if callable(value) and name.startswith('test_')]
    return {match[1].upper() for match in (re.match(r'test_([a-f]\d+)_', name) for name in names) if match}


@pytest.mark.skipif(not RULES.exists(), reason='the rules are in the source tree only')
def test_each_rule_has_a_test_and_each_test_a_rule():
    assert numbers_tested() | set(WITHOUT_TEST) == set(rules())
    assert not numbers_tested() & set(WITHOUT_TEST)


@pytest.mark.skipif(not RULES.exists(), reason='the rules are in the source tree only')
def test_rules_of_one_mode_are_those_of_one_executor():
    assert {number for number, executors in rules().items() if executors == 'processes'} == set(ONE_MODE)


def functions(notes):
    return [line for line in notes.read() if line.startswith('function')]


# -- A. Tasks and runs ----------------------------------------------------------------------------

def test_a1_making_a_task_runs_nothing_and_each_run_has_its_own_future(rn, notes):
    task = rn.new_task(notes.add, args=('ran',))
    hooks = tasks.Hooks(notes)
    hooks.attach(task)
    assert notes.read() == []
    first, second = task.run(), task.run()
    assert first is not second
    concurrent.futures.wait([first, second])
    assert notes.read().count('ran') == 2


def test_a2_a_run_that_cannot_start_is_a_future_that_has_failed(open_runtime, mode):
    runtime = open_runtime(mode)
    task = runtime.new_task(tasks.yes)
    runtime.close()
    future = task.run()
    assert future.done() and isinstance(future.exception(), errors.Closed)


@only_processes
def test_a2_an_argument_that_cannot_travel_fails_the_run_and_names_the_culprit(rn):
    future = rn.new_task(tasks.echo, {'value': threading.Lock()}).run()
    assert future.done()
    with pytest.raises(errors.NotPicklable, match=r"kwargs\['value'\].*lock"):
        future.result()


def test_a2_starting_gives_the_future_at_once(rn, gate):
    future = rn.new_task(tasks.enter, {'gate': gate}).run()
    gate.wait()
    assert not future.done()
    gate.open()
    assert future.result() == 'through'


def test_a3_what_a_run_was_given_is_as_it_was_when_it_started(rn):
    kwargs, args = {'a': 1}, [1]
    future = rn.new_task(tasks.spread, kwargs, args=args).run(start_in=0.05)
    kwargs['a'] = 2
    args[0] = 2
    assert future.result() == ((1,), {'a': 1})


def test_a4_a_running_function_can_ask_its_call(rn, notes):
    rn.new_task(tasks.note_what_the_call_says, {'notes': notes}, name='mine').run(times=3).result()
    assert notes.read() == ['1 2 0 mine False', '2 1 0 mine False', '3 0 0 mine False']
    result = rn.new_task(tasks.what_the_call_says).run(every=3600, times=None)
    result.stop()


def test_a4_outside_a_task_there_is_no_call():
    call = None
    with contextlib.suppress(errors.RuniumError, RuntimeError, LookupError):
        call = runium.current_call()
    assert call is None


def test_a5_runs_that_are_not_done_can_be_listed(open_runtime, mode, gate):
    runtime = open_runtime(mode)
    task = runtime.new_task(tasks.enter, {'gate': gate}, name='waits at the gate')
    future = task.run()
    gate.wait()
    assert [(task.id, task.name, task.future) for task in runtime.pending_tasks().values()] == \
        [(task.id, 'waits at the gate', future)]
    gate.open()
    future.result()
    assert runtime.pending_tasks() == {}


# -- B. Schedule ----------------------------------------------------------------------------------

@pytest.mark.parametrize('schedule, count', [({}, 1), ({'times': 1}, 1), ({'times': 4}, 4),
                                             ({'every': 0.01, 'times': 3}, 3), ({'every': '10 ms', 'times': 1}, 1)])
def test_b1_how_often(rn, notes, schedule, count):
    assert rn.new_task(tasks.note_iteration, {'notes': notes}).run(**schedule).result() == count
    assert notes.read() == [f'{number} {count - number}' for number in range(1, count + 1)]


def test_b1_every_alone_goes_on_until_it_is_stopped(rn, notes, gate):
    future = rn.new_task(tasks.say_iteration, {'gate': gate, 'notes': notes}).run(every=0.005)
    gate.wait(5)
    assert not future.done()
    assert future.stop() is True
    assert future.result() >= 5


def test_b2_at_once_after_a_delay_or_at_a_time(rn):
    assert rn.new_task(tasks.yes).run().result() is True
    before = time.monotonic()
    assert rn.new_task(tasks.yes).run(start_in='100 ms').result() is True
    assert time.monotonic() - before >= 0.1
    moment = datetime.datetime.now() + datetime.timedelta(milliseconds=100)
    assert rn.new_task(tasks.yes).run(at=moment).result() is True
    assert datetime.datetime.now() >= moment


def test_b3_a_tick_during_an_iteration_is_skipped_counted_and_never_made_up(rn, notes):
    rn.new_task(tasks.note_missed, {'notes': notes, 'long_one': 2, 'seconds': 0.1}).run(every=0.03, times=4).result()
    lines = [tuple(map(int, line.split())) for line in notes.read()]
    assert [iteration for iteration, _ in lines] == [1, 2, 3, 4]
    missed = [missed for _, missed in lines]
    assert missed[2] - missed[1] >= 2 and missed == sorted(missed)


def test_b3_a_period_does_not_drift(rn):
    before = time.monotonic()
    rn.new_task(tasks.sleep, args=(0.01,)).run(every=0.02, times=11).result()
    assert time.monotonic() - before >= 0.2  # the eleventh is due 10 periods after the first, and never sooner


def test_b4_iterations_follow_one_another(rn, notes, gate):
    future = rn.new_task(tasks.enter_and_note, {'gate': gate, 'notes': notes}).run(every=0.005, times=3)
    for number in range(1, 4):
        gate.wait()
        assert functions(notes) == [f'function {count}' for count in range(1, number + 1)]
        gate.open(1)
    assert future.result() == 3


def test_b5_runs_that_wait_for_the_clock_occupy_no_worker(open_runtime, mode):
    runtime = open_runtime(mode, max_workers=1)
    waiting = [runtime.new_task(tasks.yes).run(start_in=3600) for _ in range(500)]
    waiting += [runtime.new_task(tasks.yes).run(every=3600) for _ in range(10)]
    assert runtime.new_task(tasks.echo, {'value': 1}).run().result() == 1
    assert not any(future.done() for future in waiting)


def test_b6_a_failed_iteration_is_followed_by_the_next(rn, notes):
    assert rn.new_task(tasks.fail_at, {'notes': notes, 'when': [1, 2]}).run(times=3).result() == 3
    assert functions(notes) == ['function 1', 'function 2', 'function 3']


def test_b7_durations_are_numbers_of_seconds_or_text(rn):
    assert get_seconds('1.5 hours') == 5400 and get_seconds('250 ms') == 0.25
    for bad in ('10 months', 'soon', '-1 second'):
        with pytest.raises(ValueError) as caught:
            rn.new_task(tasks.yes).run(every=bad)
        assert bad in str(caught.value) and 'second' in str(caught.value)


# -- C. Hooks -------------------------------------------------------------------------------------

def test_c1_on_iter_follows_every_iteration(rn, notes):
    task = rn.new_task(tasks.fail_odd, {'notes': notes}).on_iter(tasks.Hooks(notes).on_iter)
    task.run(times=3).result()
    assert notes.read() == ['function 1', 'on_iter None ValueError(1)', 'function 2', 'on_iter 2 None',
                            'function 3', 'on_iter None ValueError(3)']


@pytest.mark.parametrize('value', [None, 0, False, '', [], True])
def test_c2_on_success_is_chosen_by_success_and_not_by_the_value(rn, notes, value):
    tasks.Hooks(notes).attach(rn.new_task(tasks.echo, {'value': value})).run().result()
    assert [line.split()[0] for line in notes.read()] == ['on_iter', 'on_success', 'on_finished']


@pytest.mark.parametrize('times, final', [(2, 'on_success'), (3, 'on_error')])
def test_c2_the_last_iteration_alone_chooses(rn, notes, times, final):
    tasks.Hooks(notes).attach(rn.new_task(tasks.fail_odd, {'notes': notes})).run(times=times).result()
    ran = [line.split()[0] for line in notes.read()]
    assert ran == ['function', 'on_iter'] * times + [final, 'on_finished']


def test_c3_function_hooks_future_done_callbacks(rn, notes, gate):
    future = tasks.Hooks(notes, gate=gate).attach(rn.new_task(tasks.fail_odd, {'notes': notes})).run(times=2)
    seen = []
    end = threading.Event()
    future.add_done_callback(lambda done: (seen.append((done.done(), notes.read()[-1])), end.set()))
    gate.wait()  # in on_finished
    assert not future.done() and seen == []
    gate.open()
    end.wait()
    assert [line.split()[0] for line in notes.read()] == ['function', 'on_iter', 'function', 'on_iter', 'on_success', 'on_finished']
    assert seen == [(True, 'on_finished 2 None')]


def test_c4_a_hook_has_the_thread_and_process_of_its_iteration(rn, notes):
    where = tasks.Where(notes)
    task = rn.new_task(tasks.where_noted, {'notes': notes})
    task.on_iter(where.both).on_success(where.one).on_finished(where.both).run().result()
    places = {line.split(None, 1)[1] for line in notes.read()}
    assert len(notes.read()) == 4 and len(places) == 1
    assert places != {f'{os.getpid()} {threading.get_native_id()}'}


def test_c5_hooks_see_the_outcome_and_not_what_others_made_of_it(rn, notes):
    hooks = tasks.Hooks(notes, {name: f'of {name}' for name in ('on_iter', 'on_success', 'on_finished')})
    task = hooks.attach(rn.new_task(tasks.yes), updates=['on_iter', 'on_success', 'on_finished'])
    assert task.run().result() == 'of on_finished'
    assert notes.read() == ['on_iter True None', 'on_success True', 'on_finished True None']


NAMES = ['on_iter', 'on_success', 'on_finished']


@pytest.mark.parametrize('updates', [[name for bit, name in enumerate(NAMES) if number >> bit & 1] for number in range(8)])
def test_c6_the_last_hook_that_updates_the_result_wins(rn, notes, updates):
    hooks = tasks.Hooks(notes, {name: f'of {name}' for name in NAMES})
    result = hooks.attach(rn.new_task(tasks.yes), updates).run().result()
    assert result == (f'of {updates[-1]}' if updates else True)


def test_c6_a_hook_can_replace_an_exception_by_none(rn, notes):
    assert rn.new_task(tasks.fail).on_error(tasks.Hooks(notes).on_error, updates_result=True).run().result() is None


@pytest.mark.parametrize('name', NAMES)
def test_c7_the_error_of_a_hook_is_raised_by_result_and_the_final_hooks_still_run(rn, notes, name):
    future = tasks.Hooks(notes, raises=[name]).attach(rn.new_task(tasks.yes), updates=['on_finished']).run()
    with pytest.raises(RuntimeError, match=name):
        future.result()
    assert [line.split()[0] for line in notes.read()] == ['on_iter', 'on_success', 'on_finished']


def test_c7_an_on_iter_that_fails_ends_the_schedule(rn, notes):
    future = tasks.Hooks(notes, raises=['on_iter']).attach(rn.new_task(tasks.yes)).run(every=0.005)
    with pytest.raises(RuntimeError, match='on_iter'):
        future.result()
    assert [line.split()[0] for line in notes.read()] == ['on_iter', 'on_success', 'on_finished']


def test_c7_the_first_of_two_hooks_that_fail_gives_the_result(rn, notes):
    future = tasks.Hooks(notes, raises=['on_error', 'on_finished']).attach(rn.new_task(tasks.fail)).run()
    with pytest.raises(RuntimeError, match='on_error'):
        future.result()


def test_c8_without_an_iteration_no_hook_runs(rn, notes):
    future = tasks.Hooks(notes).attach(rn.new_task(notes.add, args=('ran',))).run(start_in=3600)
    assert future.cancel()
    assert rn.new_task(tasks.yes).run().result() is True
    assert notes.read() == []


def test_c8_each_hook_runs_once_in_a_run_that_is_stopped(rn, notes, gate):
    task = tasks.Hooks(notes).attach(rn.new_task(tasks.enter, {'gate': gate}))
    future = task.run(every=3600)
    gate.wait()
    future.stop()
    gate.open()
    assert future.result() == 'through'
    assert notes.read() == ['on_iter through None', 'on_success through', 'on_finished through None']


def test_c8_each_hook_runs_once_when_the_runtime_is_closed(open_runtime, mode, notes, gate):
    runtime = open_runtime(mode)
    future = tasks.Hooks(notes).attach(runtime.new_task(tasks.say_iteration, {'gate': gate, 'notes': notes})).run(every=3600)
    gate.wait()
    assert runtime.close() is True
    assert future.result() == 1
    assert notes.read() == ['function 1', 'on_iter 1 None', 'on_success 1', 'on_finished 1 None']


@only_processes
def test_c9_the_death_of_a_worker_is_an_outcome_and_its_hooks_run_in_the_next(rn, notes):
    task = rn.new_task(tasks.die_at, {'number': 2, 'notes': notes})
    task.on_iter(tasks.Hooks(notes).on_iter).on_finished(tasks.Where(notes).both)
    assert task.run(times=3).result() == 3
    lines = notes.read()
    assert lines[:3] == ['function 1', 'on_iter 1 None', 'function 2']
    assert lines[3].startswith('on_iter None WorkerCrashed(')
    assert lines[4:6] == ['function 3', 'on_iter 3 None']


@only_processes
@pytest.mark.parametrize('how', [9, 11, 6, 'exit'])
def test_c9_the_error_says_how_the_worker_died(rn, how):
    if how == 'exit':
        error = rn.new_task(tasks.exit_hard, {'status': 7}).run().result()
    else:
        error = rn.new_task(tasks.die, {'number': how}).run().result()
    assert type(error) is errors.WorkerCrashed and isinstance(error, runium.WorkerCrashed)
    assert (error.signal, error.exit_status) == ((None, 7) if how == 'exit' else (how, None))
    assert rn.new_task(tasks.yes).run().result() is True


def start_and_wait(runtime):
    return lambda success: runtime.new_task(tasks.yes).run().result()


def test_c10_a_hook_may_start_runs_and_wait_for_them(threads):
    task = threads.new_task(tasks.none).on_success(start_and_wait(threads), updates_result=True)
    assert task.run().result() is True


@only_processes
def test_c10_a_hook_in_a_worker_process_may_use_the_package(rn):
    task = rn.new_task(tasks.none).on_success(run_on_the_default_runtime, updates_result=True)
    assert task.run().result() == 5


def run_on_the_default_runtime(success):
    return runium.new_task(tasks.echo, {'value': 5}).run().result()


def test_c10_waiting_for_ones_own_future_is_a_deadlock_told_at_once(threads):
    own = []
    started = threading.Event()

    def wait_for_myself():
        started.wait()
        return own[0].result()

    own.append(threads.new_task(wait_for_myself).run())
    started.set()
    assert type(own[0].result()) is errors.Deadlock


def test_c10_a_hook_may_stop_and_cancel_its_own_run(threads):
    own, told = [], []
    started = threading.Event()

    def hook(success, error):
        started.wait()
        told.append((own[0].cancel(), own[0].stop()))

    own.append(threads.new_task(tasks.yes).on_iter(hook).run(every=0.001))
    started.set()
    assert own[0].result() is True
    assert told == [(False, True)]


# -- D. Futures -----------------------------------------------------------------------------------

def test_d1_a_future_is_waiting_running_done_or_cancelled(rn, gate):
    future = rn.new_task(tasks.enter, {'gate': gate}).run()
    gate.wait()
    assert future.running() and not future.done() and not future.cancel()
    with pytest.raises(TimeoutError):
        future.result(timeout=0)
    gate.open()
    assert future.result() == 'through' and future.done() and not future.running()
    late = rn.new_task(tasks.yes).run(start_in=3600)
    assert not late.running() and late.cancel() and late.cancelled() and late.done()


def test_d2_done_callbacks_once_each_in_order_and_at_once_if_it_is_done(rn, gate):
    future = rn.new_task(tasks.enter, {'gate': gate}).run()
    gate.wait()
    called = []
    end = threading.Event()
    for number in range(3):
        future.add_done_callback(lambda done, number=number: called.append(number))
    future.add_done_callback(lambda done: end.set())
    gate.open()
    end.wait()
    assert called == [0, 1, 2]
    future.add_done_callback(lambda done: called.append(threading.get_ident()))
    assert called[3:] == [threading.get_ident()]


def test_d3_the_error_of_a_task_is_the_result_and_no_value_is_taken_for_one(rn, notes):
    assert type(rn.new_task(tasks.fail).run().result()) is ValueError
    value = ValueError('only a value')
    tasks.Hooks(notes).attach(rn.new_task(tasks.echo, {'value': value})).run().result()
    assert [line.split()[0] for line in notes.read()] == ['on_iter', 'on_success', 'on_finished']


def test_d4_waiting_for_all_for_any_and_as_they_complete(rn, gate):
    held = rn.new_task(tasks.enter, {'gate': gate}).run()
    quick = [rn.new_task(tasks.echo, {'value': number}).run() for number in range(5)]
    assert sorted(future.result() for future in concurrent.futures.as_completed(quick)) == [0, 1, 2, 3, 4]
    done, _ = concurrent.futures.wait([held, *quick], return_when=concurrent.futures.FIRST_COMPLETED)
    assert held not in done and done
    gate.open()
    assert concurrent.futures.wait([held, *quick]).not_done == set()


def test_d5_an_event_loop_can_await_a_future(rn):
    import asyncio

    async def main():
        return await rn.new_task(tasks.echo, {'value': 'awaited'}).run()

    assert asyncio.run(main()) == 'awaited'


def test_d6_a_task_may_wait_for_another_of_its_runtime_with_one_worker(open_runtime):
    runtime = open_runtime(max_workers=1)

    def down(depth):
        return 0 if depth == 0 else 1 + runtime.new_task(down, args=(depth - 1,)).run().result()

    assert runtime.new_task(down, args=(50,)).run().result() == 50


def test_d6_a_true_cycle_is_told(open_runtime):
    runtime = open_runtime(max_workers=1)
    futures = {}
    started = threading.Event()

    def wait_for(other):
        started.wait()
        return futures[other].result()

    futures['a'] = runtime.new_task(wait_for, args=('b',), name='a').run()
    futures['b'] = runtime.new_task(wait_for, args=('a',), name='b').run()
    started.set()
    results = [future.result() for future in futures.values()]
    assert any(type(result) is errors.Deadlock for result in results)
    assert any('a' in str(result) and 'b' in str(result) for result in results if type(result) is errors.Deadlock)


# -- E. Cancel, stop, time limits -----------------------------------------------------------------

def test_e1_a_cancelled_run_does_nothing(open_runtime, mode, notes, gate):
    runtime = open_runtime(mode, max_workers=1)
    blocker = runtime.new_task(tasks.enter, {'gate': gate}).run()
    gate.wait()
    behind = tasks.Hooks(notes).attach(runtime.new_task(notes.add, args=('ran',))).run()
    late = tasks.Hooks(notes).attach(runtime.new_task(notes.add, args=('ran',))).run(start_in=3600)
    cancelled = behind.cancel(), late.cancel()
    gate.open()
    blocker.result()
    assert cancelled == (True, True) and behind.cancelled() and late.cancelled()
    assert runtime.close() and notes.read() == []


def test_e1_a_run_that_has_begun_cannot_be_cancelled(rn, gate):
    future = rn.new_task(tasks.enter, {'gate': gate}).run(times=2)
    gate.wait()
    assert future.cancel() is False
    gate.open()
    assert future.result() == 'through'


def test_e2_stopping_ends_a_run_with_its_current_iteration_which_can_ask(rn, notes, gate):
    task = rn.new_task(tasks.enter_then_say_stopping, {'gate': gate}).on_finished(tasks.Hooks(notes).on_finished)
    future = task.run(every=0.001)
    gate.wait()
    assert future.stop() is True
    gate.open()
    assert future.result() is True
    assert notes.read() == ['on_finished True None']
    assert future.stop() is False


def test_e2_stopping_between_iterations_does_not_wait_for_the_next_tick(rn, notes, gate):
    task = tasks.Hooks(notes).attach(rn.new_task(tasks.say_iteration, {'gate': gate, 'notes': notes}))
    future = task.run(every=3600)
    gate.wait()
    future.stop()
    assert future.result() == 1
    assert notes.read()[-1] == 'on_finished 1 None' and len(functions(notes)) == 1


def test_e2_a_run_can_stop_itself(rn, notes):
    assert rn.new_task(tasks.stop_self_at, {'number': 3, 'notes': notes}).run(every=0.001).result() == 3
    assert len(functions(notes)) == 3


def test_e2_stopping_a_run_that_has_not_begun_cancels_it(rn):
    future = rn.new_task(tasks.yes).run(start_in=3600)
    assert future.stop() is True and future.cancelled()


@only_processes
def test_e3_an_iteration_over_its_time_is_told_and_has_that_outcome_though_it_returns(rn, notes):
    result = rn.new_task(tasks.wait_till_told, {'notes': notes}).run(timeout=0.05).result()
    assert type(result) is errors.Overtime and isinstance(result, TimeoutError)
    assert notes.read() == ['told']


@only_processes
def test_e3_one_that_does_not_listen_is_ended_and_its_hooks_run(rn, notes):
    task = rn.new_task(tasks.sleep_for_ever).on_error(tasks.Hooks(notes).on_error)
    assert type(task.run(timeout='500 ms').result()) is errors.Overtime
    assert [line.split('(')[0] for line in notes.read()] == ['on_error Overtime']
    assert rn.new_task(tasks.yes).run().result() is True


def test_e3_in_threads_a_time_limit_is_refused_clearly(threads):
    task = threads.new_task(tasks.yes)
    with pytest.raises((ValueError, errors.RuniumError, NotImplementedError), match='timeout'):
        task.run(timeout=5).result()


# -- F. Errors, shutdown, the rest ----------------------------------------------------------------

def test_f1_an_error_has_its_message_its_origin_and_its_cause(rn):
    error = rn.new_task(tasks.fail_deep, {'depth': 3}).run().result()
    assert type(error) is KeyError
    if error.__cause__ is None:
        import traceback
        text = ''.join(traceback.format_exception(error))
    else:
        assert type(error.__cause__) is errors.RemoteTraceback
        text = str(error.__cause__)
    assert text.count('in fail_deep') == 4 and 'tasks.py' in text and 'at the bottom' in text


def test_f2_failed_iterations_are_printed_with_debug_and_logged_without(open_runtime, mode, capfd, caplog):
    for debug in (True, False):
        runtime = open_runtime(mode, debug=debug)
        caplog.clear()
        with caplog.at_level(logging.INFO, logger='runium'):
            runtime.new_task(tasks.fail).run(times=2).result()
            runtime.close()
        printed = capfd.readouterr().err.count('ValueError: ni')
        logged = len([record for record in caplog.records if record.levelno >= logging.ERROR])
        assert (printed, logged) == ((2, 0) if debug else (0, 2))


def test_f3_closing_drains_by_default(open_runtime, mode, notes):
    runtime = open_runtime(mode)
    futures = [runtime.new_task(notes.add, args=('ran',)).run(start_in=0.02) for _ in range(5)]
    assert runtime.close() is True
    assert all(future.done() for future in futures)
    assert notes.read() == ['ran'] * 5


def test_f3_closing_by_stopping_cancels_what_has_not_begun(open_runtime, mode, gate):
    runtime = open_runtime(mode)
    late = runtime.new_task(tasks.yes).run(start_in=3600)
    endless = runtime.new_task(tasks.yes).run(every=3600, start_in=3600)
    assert runtime.close('stop') is True
    assert late.cancelled() and endless.cancelled()


def test_f3_a_deadline_ends_the_wait_and_it_can_be_closed_again(open_runtime, mode, gate):
    runtime = open_runtime(mode)
    future = runtime.new_task(tasks.enter, {'gate': gate}).run()
    gate.wait()
    assert runtime.close(within=0.02) is False
    gate.open()
    assert runtime.close() is True and future.result() == 'through'


def test_f3_closing_from_a_task_is_a_deadlock_and_changes_nothing(open_runtime):
    runtime = open_runtime()
    assert type(runtime.new_task(runtime.close).run().result()) is errors.Deadlock
    assert runtime.new_task(tasks.yes).run().result() is True


FORK = '''
    import os, sys, tempfile
    from runium import errors
    from runium.core import Runium
    import runium
    mode = sys.argv[1]
    rn = Runium(mode=mode, max_workers=2)
    assert rn.new_task(int).run().result() == 0
    future = rn.new_task(int).run(start_in=3600)
    child = os.fork()
    if child == 0:
        try:
            for ask in (future.result, lambda: rn.new_task(int).run().result()):
                try:
                    ask()
                    os._exit(2)
                except errors.Forked:
                    pass
            own = Runium(mode=mode, max_workers=1)
            assert own.new_task(int, args=('12',)).run().result() == 12
            own.close()
            os._exit(7)
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert not future.done() and future.cancel()
    print(rn.new_task(int, args=('34',)).run().result())
'''


@pytest.mark.forks
def test_f4_after_fork_the_parent_is_as_before_and_the_child_opens_its_own(script, mode):
    ended = script(FORK, mode)
    assert (ended.status, ended.out, ended.err, ended.left) == (0, '7\n34\n', '', []), ended


def test_f5_limits_are_told(mode):
    from runium.core import Runium
    with pytest.raises(ValueError, match='1024') as caught:
        Runium(mode=mode, max_workers=5000)
    assert '5000' in str(caught.value)


def test_f5_durations_beyond_the_range_are_refused(rn):
    for name in ('every', 'start_in'):
        with pytest.raises(ValueError, match=name):
            rn.new_task(tasks.yes).run(**{name: sys.float_info.max})


def test_f5_waits_nested_too_deep_end_in_an_error_and_not_in_a_crash(script):
    ended = script('''
        from runium.core import Runium
        rn = Runium(max_workers=1, debug=False)
        def down(depth):
            return rn.new_task(down, args=(depth + 1,)).run().result() if depth < 100000 else 'the bottom'
        result = rn.new_task(down, args=(0,)).run().result()
        print(type(result).__name__ if isinstance(result, Exception) else result)
        print(rn.new_task(int).run().result())
    ''', options=['-X', 'faulthandler'])
    assert ended.status == 0 and ended.out.splitlines()[1:] == ['0'], ended
    assert ended.out.splitlines()[0] in ('RecursionError', 'Deadlock', 'the bottom'), ended
