"""What is measured of the Python package: the cases with their settings, and the goal of each."""
from case import OURS, YARDSTICK, Case, Goal, of_best, settings_of  # noqa: F401

IN_FLIGHT = 10_000
MIB = 1 << 20

# Who takes long for a task gets fewer: half a second of each is enough for a median.
FEWER_PROCESSES = {'executor': 20, 'pool-map': 4, 'pool-async': 5, 'pebble': 10, 'joblib': 50}
FEWER_TRIPS = {'executor': 5, 'pool-async': 3, 'pebble': 3, 'joblib': 10}
FEWER_THREADS = {'executor': 5, 'pool-map': 4, 'pool-async': 5, 'pebble': 5, 'joblib': 50}
FEWER_PAYLOADS = {'executor': 4, 'pool-async': 4, 'pebble': 4, 'joblib': 4}


def bulk(name, title, tasks, fewer, *goals, program=''):
    return Case(name, title, 'ns per task', program or name, dict(workers=2, tasks=tasks, batch=IN_FLIGHT), goals,
                others=('cpu_ns',), fewer=fewer)


def round_trip(name, title, samples, fewer, *goals):
    return Case(name, title, 'ns, p50', name, dict(workers=2, samples=samples), goals, figure='p50', others=('p99',),
                fewer=fewer)


def payload(kind, title):
    return Case(f'payload-{kind}', f'worker processes: {title} of 64 MiB there and back', 'ns, p50', f'payload-{kind}',
                dict(workers=2, bytes=64 * MIB, samples=20),
                (Goal('1/10 of ProcessPoolExecutor', 'executor', 1 / 10),), figure='p50', others=('p99',), most_rounds=3,
                fewer=FEWER_PAYLOADS)


CASES = [
    bulk('processes', 'worker processes: many calls of a trivial function, 2 workers', 100_000, FEWER_PROCESSES, of_best(5)),
    bulk('processes-standard', 'the same by submit() of a concurrent.futures.Executor', 100_000, FEWER_PROCESSES,
         Goal('1/5 of ProcessPoolExecutor', 'executor', 1 / 5)),
    round_trip('processes-round-trip', 'worker processes: one call of a trivial function at a time', 5_000, FEWER_TRIPS,
               of_best(4)),
    bulk('threads', 'threads: many calls of a trivial function, 2 workers', 200_000, FEWER_THREADS,
         Goal('1/5 of ThreadPoolExecutor', 'executor', 1 / 5)),
    bulk('threads-standard', 'the same by submit() of a concurrent.futures.Executor', 200_000, FEWER_THREADS,
         Goal('1/5 of ThreadPoolExecutor', 'executor', 1 / 5)),
    round_trip('threads-round-trip', 'threads: one call of a trivial function at a time', 10_000, FEWER_TRIPS,
               Goal('1/2 of ThreadPoolExecutor', 'executor', 1 / 2)),
    payload('bytearray', 'a bytearray'),
    payload('array', 'a numpy array'),
]
