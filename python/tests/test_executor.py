"""Runium.executor(): the workers as a concurrent.futures.Executor, for code that wants the standard interface."""
import asyncio
import concurrent.futures
import logging
import threading

import pytest

import tasks
from runium import errors
from runium.executor import Executor


@pytest.fixture
def executor(rn):
    with rn.executor() as executor:
        yield executor


def test_it_is_an_executor(executor):
    assert isinstance(executor, concurrent.futures.Executor)


def test_submit_calls_the_function_with_what_it_got(executor):
    future = executor.submit(tasks.spread, 1, 2, a=3)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result() == ((1, 2), {'a': 3})


def test_submit_passes_on_arguments_of_any_name(executor):
    assert executor.submit(tasks.spread, fn=1, self=2, kwargs=3, args=4, name=5, every=6, times=7).result() == \
        ((), {'fn': 1, 'self': 2, 'kwargs': 3, 'args': 4, 'name': 5, 'every': 6, 'times': 7})


def test_a_parameter_named_runium_is_one_like_any_other_here(executor):
    assert executor.submit(tasks.with_runium, runium={'a': 1}).result() == {'a': 1}
    assert executor.submit(tasks.with_runium, {'a': 1}).result() == {'a': 1}


def test_result_raises_what_the_function_raised(executor):
    future = executor.submit(tasks.fail, 'raised')
    with pytest.raises(ValueError, match='raised'):
        future.result()
    assert isinstance(future.exception(), ValueError)
    with pytest.raises(tasks.Custom):
        executor.submit(tasks.fail_custom).result()


@pytest.mark.parametrize('debug', [True, False])
def test_what_the_function_raised_is_neither_printed_nor_logged(open_runtime, mode, debug, capfd, caplog):
    runtime = open_runtime(mode, debug=debug)
    with caplog.at_level(logging.INFO, logger='runium'), runtime.executor() as executor:
        assert isinstance(executor.submit(tasks.fail).exception(), ValueError)
        assert isinstance(executor.submit(tasks.fail_custom).exception(), tasks.Custom)
        runtime.close()
    assert (capfd.readouterr().err, caplog.records) == ('', [])


def test_what_a_task_raised_is_printed_also_where_an_executor_ran_that_function(open_runtime, mode, capfd):
    runtime = open_runtime(mode, debug=True)
    with runtime.executor() as executor:
        assert isinstance(executor.submit(tasks.fail).exception(), ValueError)
        assert isinstance(runtime.new_task(tasks.fail).run().result(), ValueError)
    runtime.close()
    assert capfd.readouterr().err.count('Traceback') == 1


def test_an_exception_that_is_returned_is_a_result(executor):
    future = executor.submit(tasks.echo, ValueError('a value'))
    assert type(future.result()) is ValueError and future.exception() is None


def test_what_cannot_be_called_is_refused(executor):
    with pytest.raises(TypeError):
        executor.submit(3)
    with pytest.raises(TypeError):
        executor.submit()


def test_map_gives_results_in_the_order_of_the_arguments(executor):
    assert list(executor.map(pow, [2, 3, 4], [5, 2, 3])) == [32, 9, 64]
    assert list(executor.map(str, range(300))) == [str(number) for number in range(300)]


def test_map_ends_with_the_shortest(executor):
    assert list(executor.map(pow, [2, 3, 4], [5])) == [32]
    assert list(executor.map(str, [])) == []


@pytest.mark.parametrize('chunksize', [1, 2, 7, 100])
def test_map_in_chunks_gives_the_same(executor, chunksize):
    assert list(executor.map(str, range(20), chunksize=chunksize)) == [str(number) for number in range(20)]


@pytest.mark.parametrize('bad', [0, -1])
def test_a_wrong_chunksize_is_refused(processes, bad):
    with processes.executor() as executor:
        with pytest.raises(ValueError):
            list(executor.map(str, range(3), chunksize=bad))


def test_map_raises_where_the_exception_is_due(executor):
    results = executor.map(int, ['1', '2', 'x', '4'])
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError):
        next(results)


def test_map_starts_at_once_and_not_when_it_is_asked(executor, gate, notes):
    results = executor.map(notes.add, ['a', 'b'])
    executor.submit(tasks.yes).result()
    assert list(results) == [None, None]
    assert sorted(notes.read()) == ['a', 'b']


def test_map_can_time_out(executor, gate):
    results = executor.map(tasks.enter, [gate], timeout=0.05)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    gate.open()


def test_shutdown_waits_by_default(rn, notes):
    executor = rn.executor()
    futures = [executor.submit(notes.add, number) for number in range(20)]
    executor.shutdown()
    assert all(future.done() for future in futures) and len(notes.read()) == 20


def test_shutdown_waits_for_futures_that_nobody_has_kept(open_runtime, mode, gate, notes):
    executor = open_runtime(mode, max_workers=1).executor()
    executor.submit(tasks.enter, gate)
    for number in range(20):
        executor.submit(notes.add, number)
    gate.wait()
    opener = threading.Timer(0, gate.open)
    opener.start()
    executor.shutdown()
    opener.join()
    assert len(notes.read()) == 20


class ShutsDown:
    """Shuts the executor down while it is pickled."""

    def __init__(self, executor):
        self.executor = executor

    def __reduce__(self):
        self.executor.shutdown()
        return list, ()


def test_a_shutdown_while_an_argument_is_pickled_is_in_time(processes):
    executor = processes.executor()
    with pytest.raises(RuntimeError, match='shutdown'):
        executor.submit(tasks.echo, ShutsDown(executor))
    assert processes.new_task(tasks.yes).run().result() is True


def test_futures_outlive_their_executor(rn, gate):
    executor = rn.executor()
    future = executor.submit(tasks.enter, gate)
    del executor
    gate.open()
    assert future.result() == 'through'


def test_an_executor_is_of_one_runtime(rn):
    with pytest.raises(TypeError):
        Executor(None)
    bare = Executor.__new__(Executor)
    with pytest.raises(RuntimeError):
        bare.submit(tasks.yes)
    bare.shutdown()


def test_shutdown_without_waiting_returns_at_once_and_the_rest_still_runs(rn, gate):
    executor = rn.executor()
    future = executor.submit(tasks.enter, gate)
    gate.wait()
    executor.shutdown(wait=False)
    assert not future.done()
    gate.open()
    assert future.result() == 'through'


def test_shutdown_can_cancel_what_has_not_begun(open_runtime, mode, gate):
    executor = open_runtime(mode, max_workers=1).executor()
    running = executor.submit(tasks.enter, gate)
    gate.wait()
    behind = [executor.submit(tasks.yes) for _ in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    gate.open()
    assert running.result() == 'through'
    assert all(future.cancelled() for future in behind)


def test_shutdown_twice_is_harmless_and_submit_after_it_is_an_error(rn):
    executor = rn.executor()
    executor.shutdown()
    executor.shutdown(wait=True)
    with pytest.raises(RuntimeError):
        executor.submit(tasks.yes)


def test_shutdown_leaves_the_runtime_and_other_executors_alone(rn):
    first, second = rn.executor(), rn.executor()
    first.shutdown()
    assert second.submit(tasks.yes).result() is True
    assert rn.new_task(tasks.yes).run().result() is True
    second.shutdown()


def test_leaving_the_with_block_waits(rn, notes):
    with rn.executor() as executor:
        executor.submit(notes.add, 'ran')
    assert notes.read() == ['ran']
    with pytest.raises(RuntimeError):
        executor.submit(tasks.yes)


def test_submit_to_a_closed_runtime_is_an_error(open_runtime, mode):
    runtime = open_runtime(mode)
    executor = runtime.executor()
    runtime.close()
    with pytest.raises((RuntimeError, errors.Closed)):
        executor.submit(tasks.yes).result()


def test_its_futures_work_with_wait_and_as_completed(executor, gate):
    held = executor.submit(tasks.enter, gate)
    quick = [executor.submit(tasks.echo, number) for number in range(5)]
    assert sorted(future.result() for future in concurrent.futures.as_completed(quick)) == list(range(5))
    failed = executor.submit(tasks.fail)
    done, not_done = concurrent.futures.wait([held, failed], return_when=concurrent.futures.FIRST_EXCEPTION)
    assert (done, not_done) == ({failed}, {held})
    gate.open()
    assert concurrent.futures.wait([held, failed]).not_done == set()


def test_its_futures_can_be_cancelled(open_runtime, mode, gate):
    with open_runtime(mode, max_workers=1).executor() as executor:
        running = executor.submit(tasks.enter, gate)
        gate.wait()
        behind = executor.submit(tasks.yes)
        cancelled = behind.cancel()
        gate.open()
        assert cancelled and behind.cancelled() and running.result() == 'through'
        with pytest.raises(concurrent.futures.CancelledError):
            behind.result()


def test_run_in_executor(executor):
    async def main():
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(*(loop.run_in_executor(executor, tasks.echo, number) for number in range(50)))
        with pytest.raises(ValueError):
            await loop.run_in_executor(executor, tasks.fail)
        return results
    assert asyncio.run(main()) == list(range(50))


def test_awaiting_its_future_raises_too(executor):
    async def main():
        assert await asyncio.wrap_future(executor.submit(tasks.yes)) is True
        with pytest.raises(ValueError):
            await asyncio.wrap_future(executor.submit(tasks.fail))
    asyncio.run(main())


def test_threads_may_share_an_executor(executor):
    results = []

    def use():
        results.append(sum(executor.map(int, range(50))))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1225] * 4


def test_a_worker_that_dies_fails_that_future_alone(processes):
    with processes.executor() as executor:
        dead = executor.submit(tasks.exit_hard, 3)
        alive = [executor.submit(tasks.echo, number) for number in range(20)]
        with pytest.raises(errors.WorkerCrashed):
            dead.result()
        assert [future.result() for future in alive] == list(range(20))


def test_what_cannot_be_pickled_fails_that_future_alone(processes):
    with processes.executor() as executor:
        with pytest.raises(errors.NotPicklable):
            executor.submit(tasks.echo, threading.Lock()).result()
        with pytest.raises((errors.NotPicklable, TypeError)):
            executor.submit(tasks.unpicklable).result()
        assert executor.submit(tasks.yes).result() is True


def test_nested_submits_never_deadlock(open_runtime):
    with open_runtime(max_workers=1).executor() as executor:
        def down(depth):
            return 0 if depth == 0 else 1 + executor.submit(down, depth - 1).result()
        assert executor.submit(down, 30).result() == 30
