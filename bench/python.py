#!/usr/bin/python3
"""Python's two pools of processes, measured as bench.c and processes.c measure the others."""
import concurrent.futures
import ctypes
import json
import multiprocessing
import os
import platform
import resource
import signal
import struct
import sys
import time

PAGE_BYTES = 4096
PR_SET_PDEATHSIG = 1
PLUS_ONE = bytes((byte + 1) % 256 for byte in range(256))
IN_FLIGHT = 10_000  # tasks that are submitted before the results are read
MESSAGE = struct.Struct('=QQ')


# ---------------------------------------------------------------------------------------------------
# In the worker
def end_with(parent):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def answer(argument):
    number, word = MESSAGE.unpack(argument)
    return MESSAGE.pack(number, word + 1)


def touch(payload):
    result = bytearray(payload)
    result[::PAGE_BYTES] = result[::PAGE_BYTES].translate(PLUS_ONE)
    return bytes(result)


def die(path):
    file = os.open(path, os.O_WRONLY)
    os.pwrite(file, time.monotonic_ns().to_bytes(8, 'little'), 0)
    os.kill(os.getpid(), signal.SIGKILL)


# ---------------------------------------------------------------------------------------------------
# The pools
class Executor:
    def __init__(self, workers):
        self.workers = workers
        self.open()

    def open(self):
        self.pool = concurrent.futures.ProcessPoolExecutor(
            self.workers, multiprocessing.get_context('fork'), end_with, (os.getpid(),))

    def run_all(self, arguments):
        return [future.result() for future in [self.pool.submit(answer, argument) for argument in arguments]]

    def run(self, function, argument):
        return self.pool.submit(function, argument).result()

    def survive(self, path):
        """Lets a worker die, waits until that is known, and replaces the pool, which is broken from then on."""
        try:
            self.run(die, path)
        except concurrent.futures.process.BrokenProcessPool:
            return
        raise RuntimeError('the death of a worker was not noticed')

    def replace(self):
        self.pool.shutdown(wait=False)
        self.open()

    def close(self):
        self.pool.shutdown()


class Pool:
    def __init__(self, workers):
        self.pool = multiprocessing.get_context('fork').Pool(workers, end_with, (os.getpid(),))

    def run_all(self, arguments):
        return self.pool.map(answer, arguments, chunksize=1)

    def run(self, function, argument):
        return self.pool.apply(function, (argument,))

    def close(self):
        self.pool.close()
        self.pool.join()


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
    results = pool.run_all([MESSAGE.pack(number, number) for number in numbers])
    if results != [MESSAGE.pack(number, number + 1) for number in numbers]:
        raise RuntimeError('a wrong result')


def pipelined(pool, job):
    tasks, warm = job['tasks'], job['tasks'] // 10
    cpu_start = all_cpu_ns()
    run_and_check(pool, 0, warm)
    start = time.monotonic_ns()
    for first in range(0, tasks, IN_FLIGHT):
        run_and_check(pool, first, min(IN_FLIGHT, tasks - first))
    took = time.monotonic_ns() - start
    pool.close()
    return {'ns': took / tasks, 'cpu_ns': (all_cpu_ns() - cpu_start) / (tasks + warm)}


def timed(function, *arguments):
    start = time.monotonic_ns()
    result = function(*arguments)
    return time.monotonic_ns() - start, result


def one_trip(pool, number):
    took, result = timed(pool.run, answer, MESSAGE.pack(number, number))
    if result != MESSAGE.pack(number, number + 1):
        raise RuntimeError('a wrong result')
    return took


def round_trip(pool, job):
    for number in range(job['samples'] // 10):
        one_trip(pool, number)
    samples = [one_trip(pool, number) for number in range(job['samples'])]
    pool.close()
    return percentiles(samples)


def carry(pool, payload, mark):
    payload[::PAGE_BYTES] = bytes([mark]) * len(payload[::PAGE_BYTES])
    given = bytes(payload)
    start = time.monotonic_ns()
    came = pool.run(touch, given)[::PAGE_BYTES]
    took = time.monotonic_ns() - start
    if came.strip(bytes([mark + 1])):
        raise RuntimeError('a payload came back changed')
    return took


def payload(pool, job):
    memory = bytearray(job['bytes'])
    carry(pool, memory, 7)
    samples = [carry(pool, memory, number % 200) for number in range(job['samples'])]
    pool.close()
    return percentiles(samples)


def one_death(pool, file):
    pool.survive(f'/proc/{os.getpid()}/fd/{file}')
    seen = time.monotonic_ns()
    pool.replace()
    one_trip(pool, 0)
    replaced = time.monotonic_ns()
    died = int.from_bytes(os.pread(file, 8, 0), 'little')
    return seen - died, replaced - died


def death(pool, job):
    held = bytearray(job['bytes'])
    held[::PAGE_BYTES] = bytes([1]) * len(held[::PAGE_BYTES])
    file = os.memfd_create('bench')
    one_trip(pool, 0)
    samples = []
    for _ in range(job['samples']):
        time.sleep(job['gap_ns'] / 1e9)
        samples.append(one_death(pool, file))
    pool.close()
    seen, replaced = (percentiles(list(each))['p50'] for each in zip(*samples))
    return {'seen': seen, 'replaced': replaced}


CASES = {
    ('python-executor', 'processes-pipelined'): (Executor, pipelined),
    ('python-executor', 'processes-round-trip'): (Executor, round_trip),
    ('python-executor', 'processes-payload'): (Executor, payload),
    ('python-executor', 'processes-death'): (Executor, death),
    ('python-pool', 'processes-pipelined'): (Pool, pipelined),
    ('python-pool', 'processes-round-trip'): (Pool, round_trip),
    ('python-pool', 'processes-payload'): (Pool, payload),
}


def main(words):
    if words == ['--list']:
        print(f'about\tPython {platform.python_version()}: concurrent.futures and multiprocessing')
        for contender, case in CASES:
            print(f'case\t{contender}\t{case}')
        return
    make, measure = CASES[tuple(words[:2])]
    job = {'workers': 1} | {name: int(value) for name, value in (word.split('=') for word in words[2:])}
    print(json.dumps(measure(make(job['workers']), job)))


if __name__ == '__main__':
    main(sys.argv[1:])
