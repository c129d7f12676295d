"""Futures: what concurrent.futures and asyncio expect of one, and what threads that race for one may see."""
import asyncio
import concurrent.futures
import copy
import gc
import logging
import pickle
import sys
import threading
import weakref

import pytest

import tasks
from runium import errors


class Unraisable:
    """Keeps what sys.unraisablehook is called with. Entered within a test, since pytest sets a hook around each."""

    def __init__(self):
        self.seen = []

    def __enter__(self):
        self.before, sys.unraisablehook = sys.unraisablehook, lambda args: self.seen.append(args.exc_value)
        return self

    def __exit__(self, *exception):
        sys.unraisablehook = self.before


@pytest.fixture
def held(rn, gate):
    """A future whose task runs until the gate opens."""
    future = rn.new_task(tasks.enter, {'gate': gate}).run()
    gate.wait()
    return future


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


# -- states ---------------------------------------------------------------------------------------

@pytest.fixture
def queued(open_runtime, mode, gates):
    """A future whose task waits for the only worker, and what lets that one come to it."""
    runtime, first, second = open_runtime(mode, 1), gates(), gates()
    runtime.new_task(tasks.enter, {'gate': first}).run()
    first.wait()
    return runtime.new_task(tasks.enter, {'gate': second}).run(), first, second


def test_a_future_is_pending_then_running_then_done(queued):
    future, gate_before, gate = queued
    assert (future.done(), future.running(), future.cancelled()) == (False, False, False)
    gate_before.open()
    gate.wait()
    assert (future.done(), future.running(), future.cancelled()) == (False, True, False)
    gate.open()
    assert future.result() == 'through'
    assert (future.done(), future.running(), future.cancelled()) == (True, False, False)


def test_a_cancelled_future_is_cancelled_and_done(rn):
    future = rn.new_task(tasks.yes).run(start_in=3600)
    assert future.cancel() is True and future.cancel() is True
    assert (future.done(), future.running(), future.cancelled()) == (True, False, True)
    for ask in (future.result, future.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask()


def test_what_runs_or_is_done_is_not_cancelled(held, gate):
    assert held.cancel() is False and not held.cancelled()
    gate.open()
    assert held.result() == 'through'
    assert held.cancel() is False and not held.cancelled()


def test_a_cancelled_run_never_runs(open_runtime, mode, gate, notes):
    rn = open_runtime(mode, max_workers=1)
    rn.new_task(tasks.enter, args=(gate,)).run()
    gate.wait()
    futures = [rn.new_task(notes.add, args=(number,)).run(start_in=0.01 * (number % 3)) for number in range(10)]
    cancelled = [future for future in futures[::2] if future.cancel()]
    gate.open()
    concurrent.futures.wait(futures)
    assert len(cancelled) == 5
    assert sorted(notes.read()) == ['1', '3', '5', '7', '9']


def test_result_waits_and_gives_the_same_object_each_time(rn):
    future = rn.new_task(tasks.echo, {'value': [1]}).run()
    assert future.result() is future.result() and future.result() == [1]


def test_a_wait_that_times_out_leaves_the_run_alone(held, gate):
    for ask in (held.result, held.exception):
        for timeout in (0, 0.001, -1):
            with pytest.raises(concurrent.futures.TimeoutError):
                ask(timeout)
            with pytest.raises(TimeoutError):
                ask(timeout=timeout)
    gate.open()
    assert held.result(60) == 'through' and held.exception(timeout=60) is None
    assert held.result(0) == 'through' and held.result(timeout=None) == 'through'


@pytest.mark.parametrize('bad', ['1', [], object()])
def test_a_timeout_that_is_no_number_is_refused(held, gate, bad):
    with pytest.raises(TypeError):
        held.result(bad)
    gate.open()


def test_a_timeout_too_long_for_the_clock_is_none(held, gate):
    gate.open()
    assert held.result(threading.TIMEOUT_MAX) == 'through'
    assert held.result(1e300) == 'through'
    assert held.result(float('inf')) == 'through'


def test_many_threads_wait_for_one_future(held, gate):
    results = []
    threads = [in_thread(lambda: results.append(held.result())) for _ in range(20)]
    gate.open()
    for thread in threads:
        thread.join()
    assert results == ['through'] * 20


def test_progress_is_what_the_task_reports(rn, gate):
    future = rn.new_task(tasks.report_and_enter, {'gate': gate}).run()
    gate.wait()
    assert future.progress() == 0.25
    gate.open()
    future.result()
    assert future.progress() == 1


# -- concurrent.futures ---------------------------------------------------------------------------

def test_it_is_a_future_of_concurrent_futures(rn):
    future = rn.new_task(tasks.yes).run()
    assert isinstance(future, concurrent.futures.Future)
    assert issubclass(type(future), concurrent.futures.Future)
    future.result()


def test_wait_for_all(rn, gate):
    futures = [rn.new_task(tasks.enter, {'gate': gate}).run() for _ in range(5)]
    done, not_done = concurrent.futures.wait(futures, timeout=0)
    assert (done, not_done) == (set(), set(futures))
    gate.open()
    done, not_done = concurrent.futures.wait(futures)
    assert (done, not_done) == (set(futures), set())


def test_wait_for_the_first(rn, held, gate):
    quick = rn.new_task(tasks.yes).run()
    done, not_done = concurrent.futures.wait([held, quick], return_when=concurrent.futures.FIRST_COMPLETED)
    assert (done, not_done) == ({quick}, {held})
    gate.open()


def test_wait_for_the_first_that_is_done_while_it_waits(rn, gates):
    first, second = gates(), gates()
    futures = [rn.new_task(tasks.enter, {'gate': gate}).run() for gate in (first, second)]
    first.wait()
    thread = in_thread(first.open)
    done, not_done = concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_COMPLETED)
    thread.join()
    assert (done, not_done) == ({futures[0]}, {futures[1]})
    second.open()


def test_wait_for_the_first_exception_means_those_that_result_raises(rn, notes, held, gate):
    fails = tasks.Hooks(notes, raises=['on_success']).attach(rn.new_task(tasks.yes)).run()
    returns = rn.new_task(tasks.fail).run()
    returns.result()  # an exception that is returned is none for the standard library
    done, not_done = concurrent.futures.wait([held, fails, returns], return_when=concurrent.futures.FIRST_EXCEPTION)
    assert fails in done and not_done == {held}
    gate.open()


def test_wait_takes_futures_of_other_executors_too(rn, held, gate):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(gate.open)
        assert concurrent.futures.wait([held, other]).not_done == set()


def test_as_completed_gives_each_once_in_the_order_of_completion(rn, gates):
    each = [gates() for _ in range(2)]
    futures = [rn.new_task(tasks.enter, {'gate': gate, 'value': number}).run() for number, gate in enumerate(each)]
    for gate in each:
        gate.wait()
    order = []
    each[1].open()
    for future in concurrent.futures.as_completed(futures):
        order.append(future.result())
        each[0].open()
    assert order == [1, 0]


def test_as_completed_can_time_out(held, gate):
    with pytest.raises(TimeoutError):
        list(concurrent.futures.as_completed([held], timeout=0.01))
    gate.open()


def test_as_completed_gives_cancelled_ones_and_the_same_one_once(rn):
    future = rn.new_task(tasks.yes).run(start_in=3600)
    future.cancel()
    assert list(concurrent.futures.as_completed([future, future])) == [future]


def test_a_wait_ends_when_another_thread_cancels(rn):
    future = rn.new_task(tasks.yes).run(start_in=3600)
    thread = in_thread(future.cancel)
    assert concurrent.futures.wait([future]).done == {future}
    thread.join()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


class Waiter:
    """What wait() leaves in a future: it is told of its end."""

    def __init__(self):
        self.told = []
        self.add_result = self.add_exception = self.add_cancelled = self.told.append


def test_who_holds_the_condition_sees_no_future_change_and_is_told_of_it_once(held, gate):
    waiter = Waiter()
    with held._condition:
        before = held._state
        gate.open()
        assert held.result() == 'through' and held.done()
        assert (before, held._state) == ('RUNNING', 'RUNNING')
        held._waiters.append(waiter)
        assert waiter.told == []
    with held._condition:
        assert held._state == 'FINISHED'
    assert waiter.told == [held]


def test_wait_and_as_completed_return_when_all_are_done_and_not_before(rn):
    for turn in range(100):
        futures = [rn.new_task(tasks.yes).run() for _ in range(20)]
        for future in futures:
            future.add_done_callback(lambda _: None)
        if turn % 2:
            assert set(concurrent.futures.as_completed(futures, timeout=60)) == set(futures)
        else:
            assert concurrent.futures.wait(futures, timeout=60).not_done == set()
        assert all(future.done() for future in futures)


def test_what_an_executor_does_with_its_futures_is_refused_to_others(held, gate):
    refused = (concurrent.futures.InvalidStateError, RuntimeError, TypeError, errors.RuniumError)
    with pytest.raises(refused):
        held.set_result(1)
    with pytest.raises(refused):
        held.set_exception(ValueError())
    with pytest.raises(refused):
        held.set_running_or_notify_cancel()
    gate.open()
    assert held.result() == 'through'
    with pytest.raises(refused):
        held.set_result(1)
    assert held.result() == 'through'


def test_a_future_is_made_by_run_only(held, gate):
    gate.open()
    with pytest.raises(TypeError):
        type(held)()


# -- done callbacks -------------------------------------------------------------------------------

def test_done_callbacks_are_called_once_each_in_the_order_added(held, gate):
    called = []
    all_called = threading.Event()
    for number in range(10):
        held.add_done_callback(lambda future, number=number: called.append((number, future)))
    held.add_done_callback(lambda future: all_called.set())
    assert called == []
    gate.open()
    all_called.wait()
    assert called == [(number, held) for number in range(10)]


def test_a_done_callback_sees_the_result(held, gate):
    seen = []
    called = threading.Event()

    def look(future):
        seen.append((future.done(), future.running(), future.result(0)))
        called.set()

    held.add_done_callback(look)
    gate.open()
    called.wait()
    assert seen == [(True, False, 'through')]


def test_a_done_callback_runs_in_the_process_of_the_program(held, gate):
    here = []
    called = threading.Event()
    held.add_done_callback(lambda future: (here.append(tasks.where()[0]), called.set()))
    gate.open()
    called.wait()
    assert here == [tasks.where()[0]]


def test_a_callback_added_to_a_done_future_is_called_at_once_in_this_thread(rn):
    future = rn.new_task(tasks.yes).run()
    future.result()
    called = []
    future.add_done_callback(lambda future: called.append((threading.get_ident(), future)))
    assert called == [(threading.get_ident(), future)]


def test_a_function_added_twice_is_called_twice(rn):
    future = rn.new_task(tasks.yes).run()
    future.result()
    called = []
    future.add_done_callback(called.append)
    future.add_done_callback(called.append)
    assert called == [future, future]


def test_the_callbacks_of_a_cancelled_future_run_in_the_thread_that_cancels(rn):
    future = rn.new_task(tasks.yes).run(start_in=3600)
    called = []
    future.add_done_callback(lambda future: called.append((threading.get_ident(), future.cancelled())))
    future.cancel()
    assert called == [(threading.get_ident(), True)]


def test_a_callback_may_add_another(held, gate):
    called = []
    end = threading.Event()

    def first(future):
        future.add_done_callback(lambda future: called.append('inner'))
        called.append('first')

    held.add_done_callback(first)
    held.add_done_callback(lambda future: (called.append('last'), end.set()))
    gate.open()
    end.wait()
    assert sorted(called) == ['first', 'inner', 'last']


def test_callbacks_that_raise_go_to_the_unraisable_hook_once_each_and_the_rest_run(held, gate):
    called = []
    end = threading.Event()

    def bad(number):
        def callback(future):
            called.append(number)
            raise ZeroDivisionError(number)
        return callback

    for number in range(3):
        held.add_done_callback(bad(number))
        held.add_done_callback(lambda future: called.append('good'))
    held.add_done_callback(lambda future: end.set())
    with Unraisable() as unraisable:
        gate.open()
        end.wait()
    assert called == [0, 'good', 1, 'good', 2, 'good']
    assert [error.args for error in unraisable.seen] == [(0,), (1,), (2,)]
    assert held.result() == 'through'


def test_a_callback_that_raises_at_once_does_not_raise_here(rn):
    future = rn.new_task(tasks.yes).run()
    future.result()

    def bad(future):
        raise ZeroDivisionError('at once')

    with Unraisable() as unraisable:
        future.add_done_callback(bad)
    assert [str(error) for error in unraisable.seen] == ['at once']


@pytest.mark.parametrize('kind', [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_callbacks_that_raise_what_is_no_exception_end_nothing_either(held, gate, kind):
    end = threading.Event()

    def bad(future):
        raise kind()

    held.add_done_callback(bad)
    held.add_done_callback(lambda future: end.set())
    with Unraisable() as unraisable:
        gate.open()
        end.wait()
    assert [type(error) for error in unraisable.seen] == [kind]


@pytest.mark.parametrize('bad', [None, 3, 'callback'])
def test_what_cannot_be_called_is_no_done_callback(rn, bad):
    future = rn.new_task(tasks.yes).run()
    with pytest.raises(TypeError):
        future.add_done_callback(bad)
    assert future.result() is True


def test_a_callback_may_start_runs_and_wait_for_them(rn, held, gate):
    results = []
    end = threading.Event()
    runtime = rn

    def start(future):
        try:
            results.append(runtime.new_task(tasks.yes).run().result())
        finally:
            end.set()

    held.add_done_callback(start)
    gate.open()
    end.wait()
    assert results == [True]


# -- asyncio --------------------------------------------------------------------------------------

def run(coroutine):
    return asyncio.run(coroutine)


def test_a_future_can_be_awaited(rn):
    async def main():
        return await rn.new_task(tasks.echo, {'value': 5}).run()
    assert run(main()) == 5


def test_awaiting_a_future_that_is_done_gives_its_result(rn):
    future = rn.new_task(tasks.yes).run()
    future.result()

    async def main():
        return await future, await future
    assert run(main()) == (True, True)


def test_awaiting_returns_the_exception_of_the_task_and_raises_that_of_a_callback(rn, notes):
    async def main():
        returned = await rn.new_task(tasks.fail).run()
        with pytest.raises(RuntimeError, match='on_success'):
            await tasks.Hooks(notes, raises=['on_success']).attach(rn.new_task(tasks.yes)).run()
        return returned
    assert type(run(main())) is ValueError


def test_the_loop_goes_on_while_it_awaits(rn, gate):
    async def main():
        future = rn.new_task(tasks.enter, {'gate': gate}).run()
        asyncio.get_running_loop().call_soon(gate.open)  # only a loop that runs will do it
        return await future
    assert run(main()) == 'through'


def test_several_coroutines_await_one_future(rn, gate):
    async def main():
        future = rn.new_task(tasks.enter, {'gate': gate}).run()

        async def one():
            return await future
        waits = [asyncio.ensure_future(one()) for _ in range(5)]
        await asyncio.sleep(0)
        gate.open()
        return await asyncio.gather(*waits)
    assert run(main()) == ['through'] * 5


def test_gather_of_many(rn):
    async def main():
        async def one(number):
            return await rn.new_task(tasks.echo, {'value': number}).run()
        return await asyncio.gather(*(one(number) for number in range(200)))
    assert run(main()) == list(range(200))


def test_wait_for_times_out_and_cancels_a_run_that_has_not_begun(rn):
    async def main():
        future = rn.new_task(tasks.yes).run(start_in=3600)

        async def wait():
            return await future
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait(), 0.01)
        return future
    future = run(main())
    if not future.cancelled():
        assert future.cancel()  # to give up a wait need not be to give up the run, but leaves it whole


def test_awaiting_a_cancelled_future_raises_cancelled_error(rn):
    async def main():
        future = rn.new_task(tasks.yes).run(start_in=3600)
        asyncio.get_running_loop().call_soon(future.cancel)
        with pytest.raises((asyncio.CancelledError, concurrent.futures.CancelledError)):
            await future
    run(main())


def test_wrap_future_gives_results_exceptions_and_cancellation(rn, notes, gate):
    async def main():
        assert await asyncio.wrap_future(rn.new_task(tasks.yes).run()) is True
        assert type(await asyncio.wrap_future(rn.new_task(tasks.fail).run())) is ValueError
        with pytest.raises(RuntimeError):
            await asyncio.wrap_future(tasks.Hooks(notes, raises=['on_iter']).attach(rn.new_task(tasks.yes)).run())
        late = rn.new_task(tasks.yes).run(start_in=3600)
        wrapped = asyncio.wrap_future(late)
        wrapped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped
        await asyncio.sleep(0)
        assert late.cancelled()
        later = rn.new_task(tasks.yes).run(start_in=3600)
        wrapped = asyncio.wrap_future(later)
        later.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped
    run(main())


def test_a_future_outlives_the_loop_that_awaited_it(rn, gate):
    async def give_up(future):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), 0.01)

    future = rn.new_task(tasks.enter, {'gate': gate}).run()
    gate.wait()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(give_up(future))
    loop.close()
    again = rn.new_task(tasks.enter, {'gate': gate}).run()
    gate.wait()

    async def abandon():
        waits = asyncio.ensure_future(wait_for(again))
        await asyncio.sleep(0)
        waits.cancel()

    async def wait_for(future):
        return await future

    asyncio.run(abandon())
    gate.open()
    assert future.result() == 'through'
    assert again.result() == 'through' or again.cancelled()


# -- as an object ---------------------------------------------------------------------------------

def test_repr_shows_the_state(rn, queued):
    future, gate_before, gate = queued
    assert 'Future' in repr(future) and 'pending' in repr(future).lower() or 'waiting' in repr(future).lower()
    gate_before.open()
    gate.wait()
    assert 'running' in repr(future).lower()
    gate.open()
    future.result()
    assert 'finished' in repr(future).lower() or 'done' in repr(future).lower()
    cancelled = rn.new_task(tasks.yes).run(start_in=3600)
    cancelled.cancel()
    assert 'cancelled' in repr(cancelled).lower()


def test_it_can_be_a_key_and_is_equal_to_itself_only(rn):
    task = rn.new_task(tasks.yes)
    first, second = task.run(), task.run()
    assert {first: 1, second: 2} == {first: 1, second: 2} and first != second


def test_it_can_be_referred_to_weakly(rn):
    future = rn.new_task(tasks.yes).run()
    future.result()
    weak = weakref.ref(future)
    assert weak() is future
    del future
    for _ in range(100):  # until the worker has let go of it
        gc.collect()
        if weak() is None:
            break
        threading.Event().wait(0.05)
    assert weak() is None


@pytest.mark.parametrize('protocol', [2, pickle.HIGHEST_PROTOCOL])
def test_it_cannot_be_pickled_and_says_so(rn, protocol):
    future = rn.new_task(tasks.yes).run()
    with pytest.raises(TypeError, match='(?i)future'):
        pickle.dumps(future, protocol)
    with pytest.raises(TypeError):
        copy.deepcopy(future)


def test_attributes_of_the_user_are_kept(rn):
    future = rn.new_task(tasks.yes).run()
    future.mine = 3
    assert future.mine == 3


def test_a_future_that_is_dropped_early_lets_its_run_go_on(rn, gate, notes):
    future = rn.new_task(tasks.enter_and_note, {'gate': gate, 'notes': notes}).run()
    called = threading.Event()
    future.add_done_callback(lambda future: called.set())
    del future
    gc.collect()
    gate.open()
    called.wait()
    assert notes.read() == ['function 1']


def test_a_future_outlives_its_runtime(open_runtime, mode):
    runtime = open_runtime(mode)
    future = runtime.new_task(tasks.echo, {'value': [3]}).run()
    failed = runtime.new_task(tasks.fail).run()
    runtime.close()
    del runtime
    gc.collect()
    assert future.result() == [3] and type(failed.result()) is ValueError
    future.add_done_callback(lambda future: None)
    repr(future)


def settle(count, most):
    """The count once it is at most so many: what a worker still holds it gives back shortly."""
    for _ in range(50):
        if count() <= most:
            break
        threading.Event().wait(0.02)
    return count()


def wait_without_asking(future):
    """Waits until it is done, and leaves its outcome where it is."""
    while not future.done():
        threading.Event().wait(0.001)


class Canary:
    """What is looked for once it should be gone."""


@pytest.mark.parametrize('shape', ['callback', 'attribute', 'traceback', 'unasked traceback', 'result', 'unasked result',
                                   'hook', 'pending', 'args'])
def test_cycles_through_a_future_are_collected(threads, shape, caplog):
    """Y7: future <-> callback, exception <-> traceback, result, hooks, cancelled runs."""
    caplog.set_level(logging.CRITICAL, logger='runium')  # records of the log keep the traceback
    alive = weakref.WeakSet()

    def make():
        canary = Canary()
        canary.self = canary
        alive.add(canary)
        if shape == 'callback':
            future = threads.new_task(tasks.yes).run()
            future.add_done_callback(lambda done: (canary, future))
        elif shape == 'attribute':
            future = threads.new_task(tasks.yes).run()
            canary.future, future.canary = future, canary
        elif shape.endswith('traceback'):
            def fail():
                kept = canary, future_of
                raise ValueError(kept)
            future_of = []
            future = threads.new_task(fail).run()
            future_of.append(future)
        elif shape.endswith('result'):
            future = threads.new_task(lambda: canary).run()
            canary.future = future
        elif shape == 'hook':
            task = threads.new_task(tasks.yes)
            task.on_success(lambda success: (canary, task))
            future = task.run()
            canary.task = task
        elif shape == 'pending':
            future = threads.new_task(lambda: canary).run(start_in=3600)
            canary.future = future
            future.add_done_callback(lambda done: (canary, future))
            future.cancel()
        elif shape == 'args':
            future = threads.new_task(tasks.spread, {'canary': canary}, args=(canary,)).run()
            canary.future = future
        if shape.startswith('unasked'):
            wait_without_asking(future)
        elif shape != 'pending':
            future.result()

    for _ in range(20):
        make()
    assert settle(lambda: gc.collect() * 0 + len(alive), 0) == 0


def test_a_future_that_is_just_going_is_not_shown_to_the_garbage_collector_again(open_runtime, gate):
    runtime = open_runtime()
    ended = threading.Event()

    class Last:
        def __del__(self):
            gate.open()
            ended.wait()

    def give_a_list():
        gate.enter()
        return []

    task = runtime.new_task(give_a_list).on_finished(lambda success, error: ended.set())
    future = task.run()
    gate.wait()
    future.last = Last()
    task.run(start_in=3600).cancel()  # until now the task has referred to the first future too
    del future
    assert ended.is_set()
    gc.collect()


# -- races ----------------------------------------------------------------------------------------

def test_threads_that_race_to_add_callbacks_lose_none(rn):
    for _ in range(30):
        future = rn.new_task(tasks.yes).run()
        called = []
        barrier = threading.Barrier(4)

        def add(number):
            barrier.wait()
            for index in range(10):
                future.add_done_callback(lambda done, what=(number, index): called.append(what))

        threads = [in_thread(add, number) for number in range(4)]
        for thread in threads:
            thread.join()
        future.result()
        end = threading.Event()
        future.add_done_callback(lambda done: end.set())
        end.wait()
        while len(called) < 40:  # the thread that completes it may still be calling
            threading.Event().wait(0.001)
        assert sorted(called) == [(number, index) for number in range(4) for index in range(10)]
        for number in range(4):
            assert len([what for what in called if what[0] == number]) == 10


def test_cancel_races_with_the_start_and_is_right_either_way(rn, notes):
    ran, cancelled = 0, 0
    for number in range(100):
        future = rn.new_task(notes.add, args=(number,)).run()
        if future.cancel():
            cancelled += 1
            assert future.cancelled()
        else:
            ran += 1
            future.result()
    assert len(notes.read()) == ran and ran + cancelled == 100


def test_threads_that_race_to_cancel_and_to_wait_see_one_story(rn):
    for _ in range(30):
        future = rn.new_task(tasks.yes).run(start_in=0.001)
        barrier = threading.Barrier(3)
        told = []

        def cancel():
            barrier.wait()
            told.append(future.cancel())

        def wait():
            barrier.wait()
            try:
                told.append(future.result())
            except concurrent.futures.CancelledError:
                told.append('cancelled')

        threads = [in_thread(cancel), in_thread(wait)]
        barrier.wait()
        for thread in threads:
            thread.join()
        assert sorted(map(str, told)) in (['True', 'cancelled'], ['False', 'True']), told


def test_threads_that_race_with_close_get_a_result_or_closed(open_runtime, mode):
    runtime = open_runtime(mode, 2)
    runtime.new_task(tasks.yes).run().result()
    barrier = threading.Barrier(3)
    futures = []

    def start():
        barrier.wait()
        for _ in range(50):
            futures.append(runtime.new_task(tasks.yes).run())

    threads = [in_thread(start) for _ in range(2)]
    barrier.wait()
    runtime.close()
    for thread in threads:
        thread.join()
    assert len(futures) == 100
    for future in futures:
        assert future.done()
        if future.exception() is None:
            assert future.result() is True
        else:
            assert isinstance(future.exception(), errors.Closed)


# -- Ctrl-C ---------------------------------------------------------------------------------------

CTRL_C = '''
    import concurrent.futures, os, pathlib, signal, sys, threading, time
    from runium.core import Runium

    os.mkfifo('fifo')
    rn = Runium(mode=sys.argv[1], max_workers=1)
    if sys.argv[2] == 'late':
        future = rn.new_task(int).run(start_in=3600)
    else:
        future = rn.new_task(pathlib.Path('fifo').absolute().read_text).run()
    sent = []
    def interrupt():
        time.sleep(0.15)  # long enough for the wait to have begun, on a machine that is not busy
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    try:
        threading.Thread(target=interrupt).start()
        if sys.argv[2] == 'wait':
            concurrent.futures.wait([future])
        elif sys.argv[2] == 'timeout':
            future.result(timeout=3600)
        elif sys.argv[2] == 'exception':
            future.exception()
        elif sys.argv[2] == 'close':
            rn.close()
        else:
            future.result()
        print('not interrupted')
    except KeyboardInterrupt:
        print('interrupted', future.done())
        print(round((time.monotonic() - sent[0]) * 1000), 'ms', file=sys.stderr)
    if not future.cancel():
        pathlib.Path('fifo').write_text('go on')
'''


@pytest.mark.parametrize('how', ['result', 'timeout', 'exception', 'wait', 'late', 'close'])
def test_ctrl_c_ends_a_wait_before_the_run_is_done(script, mode, how):
    """Y6. The run goes on until the wait has ended; how long that took is on stderr, for people."""
    ended = script(CTRL_C, mode, how)
    assert (ended.status, ended.out, ended.left) == (0, 'interrupted False\n', []), ended


def test_a_signal_handler_runs_while_the_main_thread_waits(script, mode):
    ended = script('''
        import os, signal, sys, time, threading
        from runium.core import Runium
        rn = Runium(mode=sys.argv[1], max_workers=1)
        went = threading.Event()
        signal.signal(signal.SIGUSR1, lambda *_: went.set())
        future = rn.new_task(int).run(start_in=3600)
        def signal_then_cancel():
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGUSR1)
            went.wait()      # the handler runs in the main thread, which waits for the future
            future.cancel()
        threading.Thread(target=signal_then_cancel).start()
        try:
            future.result()
        except BaseException as error:
            print(type(error).__name__, went.is_set())
    ''', mode)
    assert (ended.status, ended.out, ended.err, ended.left) == (0, 'CancelledError True\n', '', []), ended
