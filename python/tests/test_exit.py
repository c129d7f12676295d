"""Y3: the interpreter ends in twenty states. The status is right, nothing is on stderr but what is meant, nothing is left."""
import pytest

START = '''
import atexit, os, signal, sys, threading, time
from concurrent.futures import CancelledError
import runium
from runium.core import Runium
mode = sys.argv[1]
rn = Runium(mode=mode, max_workers=2)
'''

# name: (script, status, what is on stdout, what stderr must contain ('' is: nothing at all))
STATES = {
    'nothing was run': ('', 0, '', ''),
    'a runtime made, its task not run': ('task = rn.new_task(int)', 0, '', ''),
    'all is done': ('print(rn.new_task(int).run().result())', 0, '0\n', ''),
    'closed by the program': ('rn.new_task(int).run(); print(rn.close())', 0, 'True\n', ''),
    'a task runs': ('rn.new_task(time.sleep, args=(0.2,)).run(); rn.new_task(print, args=("ran",)).run()', 0, 'ran\n', ''),
    'tasks are queued': ('''
for _ in range(2):
    rn.new_task(time.sleep, args=(0.1,)).run()
futures = [rn.new_task(print, args=("ran",)).run() for _ in range(5)]
''', 0, 'ran\n' * 5, ''),
    'a task waits for its start': ('rn.new_task(print, args=("ran",)).run(start_in=0.2)', 0, 'ran\n', ''),
    'an endless task is between its iterations': ('''
future = rn.new_task(int).run(every=3600)
while rn.pending_tasks() and not future.running() and False: pass
time.sleep(0.1)
''', 0, '', ''),
    'an endless task has not begun': ('rn.new_task(print, args=("ran",)).run(every=3600, start_in=3600)', 0, '', ''),
    'an endless task without pauses': ('rn.new_task(int).run(every=0.001); time.sleep(0.05)', 0, '', ''),
    'in a callback': ('''
def slow(success, error):
    time.sleep(0.2)
    print("callback ran", flush=True)
rn.new_task(int).on_finished(slow).run()
''', 0, 'callback ran\n', ''),
    'in a done callback': ('''
def slow(future):
    time.sleep(0.2)
    print("callback ran")
rn.new_task(time.sleep, args=(0.05,)).run().add_done_callback(slow)
''', 0, 'callback ran\n', ''),
    'a task starts another while it ends': ('''
def again():
    time.sleep(0.1)
    rn.new_task(print, args=("second",)).run()
def elsewhere():  # a function of a script that refers to a runtime goes nowhere
    time.sleep(0.1)
    print("second")
rn.new_task(again if mode == "multithreading" else elsewhere).run()
''', 0, 'second\n', ''),
    'a function of atexit starts a run': ('''
def late():
    future = rn.new_task(int).run()
    try:
        print("late", future.result(timeout=30))
    except runium.RuniumError as error:
        print("late", type(error).__name__)
atexit.register(late)
rn.new_task(int).run()
''', 0, 'late Closed\n', ''),
    'a function of atexit uses the default runtime': ('''
def late():
    print("late", runium.new_task(int).run().result())
atexit.register(late)
runium.new_task(int).run()
''', 0, 'late 0\n', ''),
    'a daemon thread waits for a future': ('''
future = rn.new_task(int).run(every=3600, start_in=3600)
threading.Thread(target=future.result, daemon=True).start()
time.sleep(0.05)
''', 0, '', ''),
    'daemon threads wait, and there is time to unwind them': ('''
future = rn.new_task(int).run(every=3600, start_in=3600)
def wait(method):
    try:
        method()
    finally:
        print("unwound", flush=True)
for method in future.result, future.exception:
    thread = threading.Thread(target=wait, args=(method,), daemon=True)
    thread.start()
    atexit.register(thread.join)
time.sleep(0.05)
''', 0, 'unwound\n' * 2, ''),
    'a daemon thread waits for runs without end': ('''
def wait():
    while True:
        rn.new_task(int).run().result()
thread = threading.Thread(target=wait, daemon=True)
thread.start()
atexit.register(thread.join)
time.sleep(0.05)
''', 0, '', ''),
    'a thread that is no daemon waits for a future': ('''
future = rn.new_task(int).run(every=3600, start_in=3600)
def wait():
    try:
        future.result()
    except CancelledError:
        print("cancelled")
threading.Thread(target=wait).start()
time.sleep(0.05)
''', 0, 'cancelled\n', ''),
    'a task waits for a future': ('''
future = Runium(max_workers=1).new_task(int).run(every=3600, start_in=3600)
def wait():
    try:
        future.result()
    except CancelledError:
        print("cancelled")
if mode == "multithreading":
    rn.new_task(wait).run()
    time.sleep(0.05)
else:
    print("cancelled")
''', 0, 'cancelled\n', ''),
    'a daemon thread starts runs without end': ('''
def start():
    while True:
        rn.new_task(int).run()
        time.sleep(0)
threading.Thread(target=start, daemon=True).start()
time.sleep(0.05)
''', 0, '', ''),
    'a thread that is no daemon starts runs': ('''
def start():
    for _ in range(3):
        time.sleep(0.03)
        rn.new_task(int).run()
threading.Thread(target=start).start()
''', 0, '', ''),
    'os._exit': ('rn.new_task(time.sleep, args=(0.3,)).run(); sys.stdout.flush(); os._exit(5)', 5, '', ''),
    'sys.exit with a status': ('rn.new_task(time.sleep, args=(0.1,)).run(); sys.exit(6)', 6, '', ''),
    'sys.exit in a task': ('''
result = rn.new_task(sys.exit, args=(7,)).run().result()
print(type(result).__name__, result.code)
''', 0, 'SystemExit 7\n', None),
    'an exception in main': ('rn.new_task(time.sleep, args=(0.1,)).run(); raise ValueError("of main")', 1, '', 'ValueError: of main'),
    'a forked child exits': ('''
rn.new_task(int).run().result()
future = rn.new_task(print, args=("ran",)).run(start_in=0.2)
child = os.fork()
if child == 0:
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
future.result()
''', 0, '3\nran\n', ''),
    'a forked child exits in an exception': ('''
rn.new_task(int).run().result()
child = os.fork()
if child == 0:
    raise ValueError("of the child")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
''', 0, '1\n', 'ValueError: of the child'),
    'many runtimes are open': ('''
more = [Runium(mode=mode, max_workers=1) for _ in range(20 if mode == "multithreading" else 3)]
for runtime in more:
    runtime.new_task(int).run()
    runtime.new_task(int).run(every=3600)
''', 0, '', ''),
    'runtimes in a cycle that nobody refers to': ('''
class Node: pass
for _ in range(3):
    node = Node()
    node.me, node.runtime = node, Runium(mode=mode, max_workers=1)
    node.future = node.runtime.new_task(int).run()
    node.future.node = node
''', 0, '', ''),
    'Ctrl-C while it drains': ('''
rn.new_task(time.sleep, args=(0.3,)).run()
rn.new_task(int).run(start_in=3600)
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
time.sleep(0.05)
''', None, '', None),
    'the last reference goes with a task pending': ('''
rn.new_task(print, args=("ran",)).run(start_in=0.1)
del rn
''', 0, 'ran\n', ''),
    'a task holds the runtime in its arguments': ('''
if mode == "multithreading":
    rn.new_task(lambda runtime: print("ran"), {"runtime": rn}).run(start_in=0.05)
else:
    print("ran")
''', 0, 'ran\n', ''),
    'a __del__ at the end starts a run': ('''
class Late:
    def __del__(self):
        try:
            rn.new_task(int).run()
        except Exception:
            pass
late = Late()
late.me = late
''', 0, '', ''),
    'asyncio was in use': ('''
import asyncio
async def main():
    return await rn.new_task(int).run()
print(asyncio.run(main()))
''', 0, '0\n', ''),
    'the standard output is closed': ('rn.new_task(int).run(); os.close(1)', None, '', None),
}


@pytest.mark.parametrize('state', [pytest.param(state, marks=pytest.mark.forks if 'fork' in STATES[state][0] else (),
                                                id=state.replace(' ', '-')) for state in STATES])
def test_the_interpreter_ends(script, mode, state):
    text, status, out, err = STATES[state]
    ended = script(START + text, mode)
    if status is not None:
        assert ended.status == status, ended
    assert ended.status >= 0, ended  # of no signal
    assert ended.out == out, ended
    # On a busy machine the end may take longer than the second after which it says what it waits for.
    said = [line for line in ended.err.splitlines() if not line.startswith('close waits for ')]
    if err is not None:
        assert (err in ended.err) if err else said == [], ended
    assert 'Fatal Python error' not in ended.err and 'Segmentation' not in ended.err, ended
    assert (ended.left, ended.cores) == ([], []), ended


@pytest.mark.parametrize('signal', ['SIGTERM', 'SIGKILL'])
def test_a_program_that_is_killed_leaves_no_process(script, mode, signal):
    ended = script(START + f'''
future = rn.new_task(time.sleep, args=(3600,)).run()
while not future.running():
    time.sleep(0.001)
os.kill(os.getpid(), signal.{signal})
time.sleep(3600)
''', mode)
    assert ended.status < 0 and ended.left == [], ended


def test_main_that_is_imported_by_workers_without_cloudpickle(script):
    """A start-up script as multiprocessing's spawn wants it: functions of __main__ by reference."""
    ended = script('''
        import sys
        sys.modules['cloudpickle'] = None
        from runium.core import Runium

        def double(number):
            return 2 * number

        if __name__ == '__main__':
            rn = Runium(mode='multiprocessing', max_workers=1)
            print(rn.new_task(double, {'number': 21}).run().result())
    ''')
    assert (ended.status, ended.out, ended.err, ended.left) == (0, '42\n', '', []), ended


def test_main_without_a_guard_by_cloudpickle(script):
    pytest.importorskip('cloudpickle')
    ended = script('''
        from runium.core import Runium
        rn = Runium(mode='multiprocessing', max_workers=1)
        factor = 2
        def double(number):
            return factor * number
        print(rn.new_task(double, {'number': 21}).run().result())
        print(rn.new_task(lambda: factor).run().result())
    ''')
    assert (ended.status, ended.out, ended.err, ended.left) == (0, '42\n2\n', '', []), ended


def test_a_warning_about_what_was_left_open_is_none(script, mode):
    ended = script(START + 'print(rn.new_task(int).run().result())', mode, options=['-X', 'dev', '-W', 'error'])
    assert (ended.status, ended.out, ended.err, ended.left) == (0, '0\n', '', []), ended


def test_a_close_says_what_it_waits_for_and_what_fails_meanwhile(script):
    ended = script('''
        import logging, runium, time
        logging.basicConfig(format='%(levelname)s %(message)s')
        runtime = runium.Runium(debug=False)
        def bad():
            raise ValueError('meanwhile')
        runtime.new_task(time.sleep, args=(1.5,), name='the slow one').run()
        runtime.new_task(bad).run(start_in=0.1)
        assert runtime.close()
    ''')
    assert ended.status == 0, ended
    assert "WARNING close waits for 'the slow one'" in ended.err and 'ValueError: meanwhile' in ended.err
    assert 'its time being over' not in ended.err
