#!/usr/bin/python3
"""One measurement in one process: contenders.py CONTENDER CASE name=value ...; its figures are printed as JSON.

Each contender runs work.answer() in its workers: run_all() many at a time, returning the results in order, run() one.
"""
import concurrent.futures
import importlib.util
import json
import multiprocessing
import os
import platform
import queue
import resource
import sys
import threading
import time

import work


# ---------------------------------------------------------------------------------------------------
# The contenders
class Runium:
    mode = 'multiprocessing'

    def __init__(self, workers):
        from runium.core import Runium
        self.runium = Runium(mode=self.mode, max_workers=workers)

    def run_all(self, function, numbers):
        new_task = self.runium.new_task
        return [future.result() for future in [new_task(function, args=(number,)).run() for number in numbers]]

    def run(self, function, argument):
        return self.runium.new_task(function, args=(argument,)).run().result()

    def close(self):
        self.runium.close()


class RuniumThreads(Runium):
    mode = 'multithreading'


class Executor:
    def __init__(self, workers):
        self.pool = self.open(workers)

    def open(self, workers):
        return concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context('fork'))

    def run_all(self, function, numbers):
        return [future.result() for future in [self.pool.submit(function, number) for number in numbers]]

    def run(self, function, argument):
        return self.pool.submit(function, argument).result()

    def close(self):
        self.pool.shutdown()


class ExecutorThreads(Executor):
    def open(self, workers):
        return concurrent.futures.ThreadPoolExecutor(workers)


class RuniumStandard(Executor):
    mode = 'multiprocessing'

    def open(self, workers):
        from runium.core import Runium
        self.runium = Runium(mode=self.mode, max_workers=workers)
        return self.runium.executor()

    def close(self):
        super().close()
        self.runium.close()


class RuniumStandardThreads(RuniumStandard):
    mode = 'multithreading'


class PoolMap:
    def __init__(self, workers):
        self.pool = self.open(workers)

    def open(self, workers):
        return multiprocessing.get_context('fork').Pool(workers)

    def run_all(self, function, numbers):
        return self.pool.map(function, numbers, chunksize=1)

    def close(self):
        self.pool.close()
        self.pool.join()


class PoolAsync(PoolMap):
    def run_all(self, function, numbers):
        return [each.get() for each in [self.pool.apply_async(function, (number,)) for number in numbers]]

    def run(self, function, argument):
        return self.pool.apply(function, (argument,))


def open_thread_pool(self, workers):
    from multiprocessing.pool import ThreadPool
    return ThreadPool(workers)


class PoolMapThreads(PoolMap):
    open = open_thread_pool


class PoolAsyncThreads(PoolAsync):
    open = open_thread_pool


class Pebble:
    def __init__(self, workers):
        self.pool = self.open(workers)

    def open(self, workers):
        from pebble import ProcessPool
        return ProcessPool(max_workers=workers, context=multiprocessing.get_context('fork'))

    def run_all(self, function, numbers):
        return [future.result() for future in [self.pool.schedule(function, args=(number,)) for number in numbers]]

    def run(self, function, argument):
        return self.pool.schedule(function, args=(argument,)).result()

    def close(self):
        self.pool.close()
        self.pool.join()


class PebbleThreads(Pebble):
    def open(self, workers):
        from pebble import ThreadPool
        return ThreadPool(max_workers=workers)


class Joblib:
    backend = 'loky'

    def __init__(self, workers):
        from joblib import Parallel, delayed
        self.delayed = delayed
        # As a memory map, its default, an array that has changed since the last call goes as it was then.
        self.pool = Parallel(n_jobs=workers, backend=self.backend, batch_size=1, max_nbytes=None).__enter__()

    def run_all(self, function, numbers):
        call = self.delayed(function)
        return self.pool(call(number) for number in numbers)

    def run(self, function, argument):
        return self.pool([self.delayed(function)(argument)])[0]

    def close(self):
        self.pool.__exit__(None, None, None)


class JoblibThreads(Joblib):
    backend = 'threading'


class Pipe:
    """No pool: one process behind a pair of pipes, which sends back what it is sent, plus one."""

    def __init__(self, workers):
        (there, self.there), (self.back, back) = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.close(self.there)
            os.close(self.back)
            while word := os.read(there, 8):
                os.write(back, work.answer(int.from_bytes(word, 'little')).to_bytes(8, 'little'))
            os._exit(0)
        os.close(there)
        os.close(back)

    def run(self, function, argument):
        os.write(self.there, argument.to_bytes(8, 'little'))
        return int.from_bytes(os.read(self.back, 8), 'little')

    def close(self):
        os.close(self.there)
        os.close(self.back)
        os.wait()


class Queues:
    """No pool: one thread between two queues."""

    def __init__(self, workers):
        self.there, self.back = queue.SimpleQueue(), queue.SimpleQueue()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            function, argument = self.there.get()
            self.back.put(function(argument))

    def run_all(self, function, numbers):
        for number in numbers:
            self.there.put((function, number))
        return [self.back.get() for _ in numbers]

    def run(self, function, argument):
        self.there.put((function, argument))
        return self.back.get()

    def close(self):
        pass


class Copies:
    """No pool: the payload is copied there and back."""

    def __init__(self, workers):
        pass

    def run(self, function, payload):
        return function(payload.copy()).copy()

    def close(self):
        pass


# ---------------------------------------------------------------------------------------------------
# The cases
def percentiles(samples):
    samples.sort()
    return {'p50': samples[len(samples) // 2], 'p99': samples[len(samples) * 99 // 100]}


def all_cpu_ns():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used) * 1e9


def run_and_check(pool, first, count):
    numbers = range(first, first + count)
    if list(pool.run_all(work.answer, numbers)) != list(range(first + 1, first + count + 1)):
        raise RuntimeError('a wrong result')


def bulk(pool, job):
    """The first tasks are not measured: they start the workers."""
    tasks, warm, batch = job['tasks'], max(10, job['tasks'] // 10), job['batch']
    cpu_start = all_cpu_ns()
    run_and_check(pool, 0, warm)
    start = time.monotonic_ns()
    for first in range(0, tasks, batch):
        run_and_check(pool, first, min(batch, tasks - first))
    took = time.monotonic_ns() - start
    pool.close()
    return {'ns': took / tasks, 'cpu_ns': (all_cpu_ns() - cpu_start) / (tasks + warm)}


def one_trip(pool, number):
    start = time.monotonic_ns()
    result = pool.run(work.answer, number)
    took = time.monotonic_ns() - start
    if result != number + 1:
        raise RuntimeError('a wrong result')
    return took


def round_trip(pool, job):
    for number in range(max(10, job['samples'] // 10)):
        one_trip(pool, number)
    samples = [one_trip(pool, number) for number in range(job['samples'])]
    pool.close()
    return percentiles(samples)


def carry(pool, payload, mark):
    """There, one byte of each page is changed; what comes back is the payload from then on."""
    payload[::work.PAGE_BYTES] = type(payload)([mark]) * len(payload[::work.PAGE_BYTES]) \
        if isinstance(payload, bytearray) else mark
    start = time.monotonic_ns()
    came = pool.run(work.touch, payload)
    took = time.monotonic_ns() - start
    if len(came) != len(payload) or bytes(came[::work.PAGE_BYTES]).strip(bytes([mark + 1])):
        raise RuntimeError('a payload came back changed')
    return took


def carried(pool, payload, samples):
    for number in range(2):
        carry(pool, payload, number)
    took = percentiles([carry(pool, payload, number % 200) for number in range(samples)])
    pool.close()
    return took


def payload_bytearray(pool, job):
    return carried(pool, bytearray(job['bytes']), job['samples'])


def payload_array(pool, job):
    import numpy
    return carried(pool, numpy.zeros(job['bytes'], dtype=numpy.uint8), job['samples'])


PROCESSES = {'runium': Runium, 'executor': Executor, 'pool-map': PoolMap, 'pool-async': PoolAsync, 'pebble': Pebble,
             'joblib': Joblib}
THREADS = {'runium': RuniumThreads, 'executor': ExecutorThreads, 'pool-map': PoolMapThreads,
           'pool-async': PoolAsyncThreads, 'pebble': PebbleThreads, 'joblib': JoblibThreads}
BARE = {'processes-round-trip': Pipe, 'threads': Queues, 'threads-round-trip': Queues, 'payload-bytearray': Copies,
        'payload-array': Copies}
STANDARD = {'processes-standard': {'runium': RuniumStandard, 'executor': Executor},
            'threads-standard': {'runium': RuniumStandardThreads, 'executor': ExecutorThreads}}
CASES = {
    'processes': (PROCESSES, bulk),
    'processes-standard': (STANDARD['processes-standard'], bulk),
    'processes-round-trip': (PROCESSES, round_trip),
    'threads': (THREADS, bulk),
    'threads-standard': (STANDARD['threads-standard'], bulk),
    'threads-round-trip': (THREADS, round_trip),
    'payload-bytearray': (PROCESSES, payload_bytearray),
    'payload-array': (PROCESSES, payload_array),
}
NEEDS = {'pebble': 'python3-pebble', 'joblib': 'python3-joblib', 'numpy': 'python3-numpy'}


def contenders_of(case):
    classes, measure = CASES[case]
    return {**classes, **({'bare': BARE[case]} if case in BARE else {})}


def is_possible(contender, case):
    needed = {contender, *(['numpy'] if case == 'payload-array' else [])} & set(NEEDS)
    one_by_one = CASES[case][1] is not bulk
    return (not (contender == 'pool-map' and one_by_one)
            and all(importlib.util.find_spec(module) for module in needed))


def show_list():
    print(f'about\tPython {platform.python_version()} and its pools')
    print(f'compiler\tPython {platform.python_version()}, {platform.python_compiler()}')
    for case in CASES:
        for contender in contenders_of(case):
            if is_possible(contender, case):
                print(f'case\t{contender}\t{case}')
    for module, package in NEEDS.items():
        if not importlib.util.find_spec(module):
            print(f'missing\t{module}: not installed; needs {package}')


def main(words):
    if words == ['--list']:
        return show_list()
    contender, case = words[:2]
    job = {name: int(value) for name, value in (word.split('=') for word in words[2:])}
    print(json.dumps(CASES[case][1](contenders_of(case)[contender](job['workers']), job)))


if __name__ == '__main__':
    main(sys.argv[1:])
