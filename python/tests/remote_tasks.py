"""What the tests of worker processes run there."""
import ctypes
import functools
import mmap
import os
import sys
import threading
import time


def add(a, b=1):
    return a + b


def give(value):
    return value


def pid():
    return os.getpid()


def counted(runium):
    return runium['iterations'], runium['iterations_remaining']


def kind_of(value):
    return type(value).__name__


def write_first(array):
    array[0] = 7
    return array


def add_to_first(array):
    array[0] += 1
    return array


def write_down_first(path, success, error):
    with open(path, 'w') as file:
        file.write(str(success[0]))


def leave_by_the_window(value):
    os._exit(1)


def sum_of(array):
    return float(array.sum())


def make_array(size):
    import numpy
    return numpy.arange(size, dtype='uint8')


def make_bytes(kind, size):
    return kind(b'x' * size)


def reverse(value):
    return value[::-1]


def give_all(*values):
    return values


def give_all_reversed(*values):
    return values[::-1]


def repeat(value, times):
    """Shorter ones each time."""
    return [value[:-1 - number] for number in range(times)]


def count_up(value):
    value[0] += 1
    return value


def first_of(success, error):
    return success[0]


def nested(size):
    """One bytearray, twice, deep in other things."""
    large = bytearray(size)
    large[-1] = 5
    return {'a': [large, (1, large)], 'b': b'y' * size}


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Point) and self.x == other.x

    def doubled(self):
        return Point(2 * self.x)


# ---- what fails ----

class NeedsTwo(Exception):
    """Pickles, and cannot be unpickled: its __init__ takes two arguments, and args has one."""

    def __init__(self, first, second):
        super().__init__(first)


class NotToBePickled(Exception):
    def __reduce__(self):
        raise RuntimeError('no')


def fail(text):
    raise ValueError(text)


def ask_for_nothing():
    return nothing  # noqa: F821


def fail_because(text):
    try:
        raise KeyError('inner')
    except KeyError as error:
        raise ValueError(text) from error


def fail_oddly(kind):
    if kind == 'two':
        raise NeedsTwo('one', 'two')
    if kind == 'lock':
        raise ValueError(threading.Lock())
    raise NotToBePickled('odd')


def leave(how):
    if how == 'sys.exit':
        sys.exit(3)
    if how == 'interrupt':
        raise KeyboardInterrupt
    if how == 'memory':
        raise MemoryError('much')
    raise GeneratorExit


def return_lock():
    return {'deep': [1, threading.Lock()]}


class Evil:
    """Does something when it is unpickled."""

    def __init__(self, how, process=None):
        self.how, self.process = how, process

    def __reduce__(self):
        return act, (self.how, self.process)


def act(how, process):
    """The program's own process is left alone where it is the worker's that is meant."""
    if process == os.getpid():
        return how
    if how == 'raise':
        raise LookupError('evil')
    if how == 'exit':
        sys.exit(4)
    if how == 'die':
        os._exit(5)
    if how == 'crash':
        os.abort()
    return how


class EvilToPickle:
    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        act(self.how, None)
        return str, ()


def make_evil(how, process):
    return Evil(how, process)


def make_evil_to_pickle(how):
    return EvilToPickle(how)


# ---- what dies ----

def die(how, depth=0):
    if depth:
        return die(how, depth - 1)
    return DEATHS[how]()


def read_nothing():
    ctypes.string_at(16)


def run_no_code():
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b'\x0f\x0b' * 8 if os.uname().machine == 'x86_64' else bytes(16))
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()


def read_beyond_the_file():
    with open('/proc/self/exe', 'rb') as program, open(f'/tmp/runium-{os.getpid()}', 'wb+') as file:
        os.unlink(file.name)
        file.write(program.read(10))
        file.truncate(mmap.PAGESIZE)
        pages = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        return pages[0]


def overflow():
    sys.setrecursionlimit(10 ** 9)
    nest = []
    for _ in range(200_000):  # deeper than any stack; more of it takes an interpreter for debugging seconds
        nest = [nest]
    return repr(nest)


def kill(number):
    os.kill(os.getpid(), number)
    time.sleep(60)


def touch_and_sleep(path):
    with open(path, 'w'):
        pass
    while True:
        time.sleep(60)


DEATHS = {
    'SIGSEGV': read_nothing,
    'SIGBUS': read_beyond_the_file,
    'SIGILL': run_no_code,
    'SIGFPE': functools.partial(kill, 8),
    'SIGABRT': os.abort,
    'SIGKILL': functools.partial(kill, 9),
    'overflow': overflow,
    'exit': functools.partial(os._exit, 9),
}

# ---- hooks ----

outcomes = []


def note(*outcome):
    outcomes.append(outcome)


def same_objects(success, error):
    """For on_finished: whether the callbacks before it have seen the very objects that it sees."""
    seen = list(outcomes)
    outcomes.clear()
    return [all(a is b for a, b in zip(entry, (success, error))) for entry in seen]


def note_success(success):
    outcomes.append((success, None))


def note_error(error):
    outcomes.append((None, error))


def describe(error):
    return f'{type(error).__name__}: {error}'


def fail_in_hook(*outcome):
    raise IndexError('from the hook')


def make_list():
    return [1, 2]


def state():
    """What a worker's interpreter has from the program's."""
    import signal
    return {
        'argv': sys.argv, 'path': sys.path, 'executable': sys.executable, 'prefix': sys.prefix,
        'optimize': sys.flags.optimize, 'dev_mode': sys.flags.dev_mode, 'utf8_mode': sys.flags.utf8_mode,
        'isolated': sys.flags.isolated, 'no_site': sys.flags.no_site, 'warnoptions': sys.warnoptions,
        'xoptions': sys._xoptions, 'bytecode': sys.dont_write_bytecode, 'orig_argv': sys.orig_argv,
        'sigint': signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        'sigpipe': signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN,
    }


def print_partly():
    sys.stdout.write('out without an end')
    sys.stderr.write('err without an end')


def keep_at_exit(path):
    import atexit
    atexit.register(lambda: open(path, 'w').write('done'))


def leave_thread_behind(path):
    """A thread that goes on when its task has returned."""
    def work():
        open(path, 'w').write('done')

    started = threading.Event()

    def wait_then_work():
        started.set()
        time.sleep(0.05)
        work()

    threading.Thread(target=wait_then_work, daemon=True).start()
    started.wait()


def current_iteration():
    import runium
    call = runium.current_call()
    return call.iteration, call.remaining, call.name
