"""Uses everything that the package has, as a program with types would. test_typing.py has mypy read it; nobody runs it."""
import asyncio
import concurrent.futures
import datetime
import logging
from typing import Any, Dict, List, Optional, Union

import runium
from runium.core import Runium
from runium.util import get_seconds


def count_words(text: str) -> int:
    return len(text.split())


def greet(name: str, runium: Optional[Dict[str, Any]] = None) -> str:
    return f'Hello {name}'


def nothing() -> None:
    pass


def on_words(success: int) -> str:
    return f'{success} words'


def on_error(error: BaseException) -> None:
    logging.getLogger('runium').info('%s', error)


def on_iter(success: Optional[int], error: Optional[BaseException]) -> None:
    call = runium.current_call()
    if call is not None and not call.stopping:
        call.report(0.5)
        print(call.iteration, call.remaining, call.missed, call.name, call.stop())


def on_finished(success: Optional[int], error: Optional[BaseException]) -> bool:
    return error is None


# What a run returns is what its function returns, from one end to the other.
reveal_type(runium.new_task(count_words, {'text': 'a b'}).run().result())
reveal_type(runium.new_task(greet, {'name': 'you'}).run().result(timeout=1))
reveal_type(runium.new_task(nothing).run().result())
reveal_type(runium.new_task(lambda: [1.5]).run().result())
reveal_type(runium.new_task(count_words, args=('a b',), name='words').run)
reveal_type(runium.new_task(count_words).on_success(on_words).on_error(on_error).on_iter(on_iter).on_finished(on_finished))
# A callback that updates the result changes its type.
reveal_type(runium.new_task(count_words).on_success(on_words, updates_result=True).run().result())
reveal_type(runium.new_task(count_words).on_finished(on_finished, updates_result=True).run().result())


def schedules() -> None:
    task = runium.new_task(nothing)
    task.run(every='10 seconds', times=3, start_in=0.5)
    task.run(every=1, start_in='1 hour')
    task.run(at=datetime.datetime(2030, 12, 24, 18, 0))
    task.run(at='2030-12-24 18:00', timeout='5 seconds')
    future = task.run(times=2)
    print(future.stop(), future.progress(), future.done(), task.id, task.name, task.future)
    seconds: Optional[float] = get_seconds('1.5 hours')
    print(seconds)


def runtimes() -> Dict[int, 'runium.Task[Any]']:
    with Runium(mode='multiprocessing', max_workers=2, debug=False) as own:
        print(own.mode, own.max_workers, own.debug, own.closed)
        future = own.new_task(count_words, {'text': 'a'}).run()
        print(future.result() + 1)
        own.close(how='stop', within='5 seconds')
    runtime: Runium = runium.default()
    return {**runtime.pending_tasks(), **runium.pending_tasks()}


def standard() -> List[int]:
    future: 'runium.Future[int]' = runium.new_task(count_words, {'text': 'a'}).run()
    same: 'concurrent.futures.Future[int]' = future
    same.add_done_callback(lambda done: print(done.result()))
    done, pending = concurrent.futures.wait([future], timeout=1)
    executor: concurrent.futures.Executor = Runium().executor()
    submitted = executor.submit(count_words, 'a b')
    executor.shutdown(wait=True, cancel_futures=True)
    return [future.result() for future in concurrent.futures.as_completed([future, submitted])]


async def waits() -> int:
    future = runium.new_task(count_words, {'text': 'a'}).run()
    return await future + await asyncio.wrap_future(future)


def errors(error: BaseException) -> Union[str, None]:
    if isinstance(error, runium.WorkerCrashed):
        return f'{error.signal} {error.exit_status} {error.native_stack} {error.python_stack} {error.message}'
    known = (runium.Closed, runium.Deadlock, runium.Forked, runium.NotPicklable, runium.Overtime, runium.Quarantined)
    if isinstance(error.__cause__, runium.RemoteTraceback):
        return error.__cause__.text
    return str(error) if isinstance(error, known) and isinstance(error, runium.RuniumError) else None
