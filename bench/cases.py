"""What is measured: the cases with their settings, and the goal of each."""
import case
from case import OURS, YARDSTICK, Case, Goal, of_best  # noqa: F401

MILLION = 1_000_000
IN_FLIGHT = 100_000


def fire(workers, *goals):
    plural = 's' if workers > 1 else ''
    return Case(f'fire-{workers}', f'fire and forget, one outside producer, {workers} worker{plural}', 'ns per task',
                'fire', dict(workers=workers, tasks=MILLION), goals, others=('cpu_ns', 'inline'), hand_over=True,
                most_rounds=3 if workers > 2 else 5)


def producers(count, *goals):
    return Case(f'producers-{count}', f'fire and forget, {count} producers, 2 workers', 'ns per task', 'producers',
                dict(workers=2, producers=count, tasks=MILLION), goals, others=('cpu_ns', 'inline'), hand_over=True)


def nested(workers, *goals):
    plural = 's' if workers > 1 else ''
    return Case(f'nested-{workers}', f'nested fork and join, a task per call of fib, {workers} worker{plural}',
                'ns per call', 'nested', dict(workers=workers, fib=32), goals, others=('cpu_ns',), most_rounds=3)


def round_trip(name, title, gap_ns, samples, *goals):
    return Case(name, title, 'ns, p50', 'round-trip', dict(workers=2, gap_ns=gap_ns, samples=samples), goals,
                figure='p50', others=('p99', 'inline'), hand_over=True, no_burning=True)


def timers(name, title, **settings):
    return Case(name, f'timers: {title}', 'ns per pair', 'timers', dict(workers=2, tasks=MILLION, **settings),
                (of_best(4),), others=('insert_ns', 'cancel_ns', 'loop_turn_ns'), most_rounds=3)


def yardstick(name, title, **settings):
    figure = 'p50' if 'samples' in settings else 'ns'
    return Case(name, title, 'ns', name, settings, figure=figure)


CASES = [
    fire(1, of_best(4)),
    fire(2, of_best(5)),
    fire(10, of_best(5), Goal('2x our own figure for 2 workers', 'fire-2', 2)),
    Case('future', 'a future per task, waited for one by one, 2 workers', 'ns per task', 'future',
         dict(workers=2, tasks=MILLION, batch=IN_FLIGHT), (of_best(5),), others=('cpu_ns', 'inline'), hand_over=True),
    Case('callback', 'a future and a completion callback per task, 2 workers', 'ns per task', 'callback',
         dict(workers=2, tasks=MILLION, batch=IN_FLIGHT), (of_best(5),), others=('cpu_ns', 'inline'), hand_over=True),
    producers(2, of_best(3), Goal('1.1x our own figure for 1 producer', 'fire-2', 1.1)),
    producers(4, of_best(3), Goal('1.1x our own figure for 2 producers', 'producers-2', 1.1)),
    nested(1, of_best(2)),
    nested(2, of_best(2), Goal('1/1.8 of our own figure for 1 worker', 'nested-1', 1 / 1.8)),
    round_trip('asleep', 'round trip, the pool asleep (a gap of 1 ms)', MILLION, 500,
               of_best(1), Goal('1.3x the futex pair', 'bare', 1.3)),
    round_trip('awake', 'round trip, back to back', 0, 10_000, of_best(1)),
    Case('idle', 'CPU time used by a pool with nothing to do', 'ms per s', 'idle', dict(workers=2),
         (Goal('an empty process, and 0.1', 'bare', 1, 0.1),), figure='cpu_ms', others=('switches',), most_rounds=2),
    Case('memory', 'memory per pending task, with future and hooks', 'bytes per task', 'memory',
         dict(workers=1, tasks=MILLION),
         (Goal('128', '', 0, 128), Goal('1 % of that after the burst', 'bytes', 0.01, figure='bytes_after')),
         figure='bytes', others=('bytes_after',), most_rounds=3),
    timers('timers', 'insert 1,000,000, cancel all, oldest first'),
    timers('timers-random', 'insert and cancel random ones, with 1,000,000 pending', batch=IN_FLIGHT),
    Case('lateness', 'timers: how late one fires', 'ns, p50', 'lateness', dict(workers=2, samples=300),
         (Goal('1.2x clock_nanosleep', 'bare', 1.2),), figure='p50', others=('p99',)),
    Case('features-off', 'a future per task, every feature off', 'ns per task', 'features-off',
         dict(workers=2, tasks=MILLION, batch=IN_FLIGHT), others=('cpu_ns',)),
    Case('features-on', 'the same with name, argument, 4 hooks, schedule and statistics', 'ns per task', 'features-on',
         dict(workers=2, tasks=MILLION, batch=IN_FLIGHT), (Goal('1.5x all off', 'features-off', 1.5),),
         others=('cpu_ns',)),
    yardstick('atomic-add', 'atomic read-modify-write', tasks=10 * MILLION),
    yardstick('mutex', 'mutex, uncontended: lock and unlock', tasks=10 * MILLION),
    yardstick('allocation', 'malloc and free of 64 bytes', tasks=10 * MILLION),
    yardstick('cache-line', 'a cache line to another core and back, both spinning', samples=10_000),
    yardstick('futex-same-core', 'futex pair, there and back, one core', samples=10_000),
    yardstick('futex-cross-core', 'futex pair, there and back, two cores', samples=3_000),
]

# Who takes long for a task gets fewer: half a second of each is enough for a median.
FEWER_TASKS = {'fork': 500, 'posix-spawn': 1000, 'python-executor': 200, 'python-pool': 50, 'socketpair': 5}
FEWER_TRIPS = {'fork': 10, 'posix-spawn': 20, 'python-executor': 10, 'python-pool': 5, 'zeromq': 3}
FEWER_PAYLOADS = {'fork': 2, 'python-executor': 4, 'python-pool': 4}
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def payload(name, title, size, samples):
    return Case(f'processes-payload-{name}', f'worker processes: {title} there and back', 'ns, p50',
                'processes-payload', dict(workers=2, bytes=size, samples=samples), figure='p50', others=('p99',),
                most_rounds=3, fewer=FEWER_PAYLOADS)


def death(name, title, size, samples, *goals):
    return Case(f'processes-death-{name}', f'a worker process dies, in a program with {title} in use', 'ns, p50',
                'processes-death', dict(workers=1, bytes=size, samples=samples, gap_ns=5 * MILLION), goals,
                figure='seen', others=('replaced',), most_rounds=3, fewer={'python-executor': 5})


CASES += [
    Case('processes-pipelined', 'worker processes: many tasks of 16 bytes, 2 workers', 'ns per task',
         'processes-pipelined', dict(workers=2, tasks=MILLION, batch=IN_FLIGHT),
         (Goal('1/4 of the pipe pool', 'pipe', 1 / 4), Goal('2x the bare ring at a window of 64', 'bare', 2)),
         others=('cpu_ns',), most_rounds=3, fewer=FEWER_TASKS),
    Case('processes-round-trip', 'worker processes: one task of 16 bytes at a time', 'ns, p50', 'processes-round-trip',
         dict(workers=2, samples=10_000), (Goal('1.3x the bare futex ring', 'bare', 1.3),), figure='p50',
         others=('p99',), most_rounds=3, fewer=FEWER_TRIPS),
    payload('16-b', '16 bytes', 16, 2000),
    payload('1-kib', '1 KiB', KIB, 2000),
    payload('64-kib', '64 KiB', 64 * KIB, 1000),
    payload('1-mib', '1 MiB', MIB, 100),
    payload('64-mib', '64 MiB', 64 * MIB, 8),
    Case('processes-payload-buffer', 'worker processes: an rn_buffer of 64 MiB there and back', 'ns, p50',
         'processes-buffer', dict(workers=2, bytes=64 * MIB, samples=20),
         (Goal('2x mapping and touching its pages', 'bare', 2),), figure='p50', others=('p99',), most_rounds=3),
    death('16-mib', '16 MiB', 16 * MIB, 50, Goal('5x the news by a pidfd', 'bare', 5),
          Goal('10x a fork and its reaping', 'bare', 10, figure='replaced')),
    death('1-gib', '1 GiB', GIB, 20,
          Goal('1.5x our own figure at 16 MiB', 'processes-death-16-mib', 1.5, figure='replaced')),
    Case('processes-offenders', 'worker processes: a run beside others that kill their workers', '% of the time without',
         'processes-offenders', dict(workers=3, samples=40, gap_ns=50 * MILLION),
         (Goal('111 %: 0.9 of the runs in the same time', '', extra=111),), figure='quarantined', others=('dying',),
         most_rounds=3),
]


def settings_of(each, contender, quick):
    settings = case.settings_of(each, contender, quick)
    if quick and each.program in ('memory', 'timers'):
        settings['tasks'] = each.settings['tasks']  # what a page or a cache holds would show otherwise
    if quick and 'fib' in settings:
        settings['fib'] -= 5
    return settings
