"""Functions that the tests run as tasks, and what they meet the test with.

They stand in a module of their own because a worker process imports it: nothing of pytest is needed there. What tasks and
test say to each other goes through files, so that it is the same in a thread and in another process.
"""
import os
import signal
import sys
import threading
import time

import runium


class Gate:
    """A place where tasks say that they have come, and wait until the test lets them go on."""

    def __init__(self, folder):
        self.folder = str(folder)

    def make(self):
        """In the test: makes it. What is kept open keeps what is in it, while no task has it open."""
        self.kept = []
        for name in ('arrivals', 'permits'):
            os.mkfifo(os.path.join(self.folder, name))
            self.kept.append(os.open(os.path.join(self.folder, name), os.O_RDWR | os.O_CLOEXEC))
        return self

    def __reduce__(self):
        return Gate, (self.folder,)

    def _use(self, name, use, what):
        # Open for both, so that neither opening nor reading ever sees the other side missing.
        fd = os.open(os.path.join(self.folder, name), os.O_RDWR | os.O_CLOEXEC)
        try:
            return use(fd, what)
        finally:
            os.close(fd)

    def enter(self):
        """In a task: says that it is here, then waits for its permit."""
        self.say()
        self._use('permits', os.read, 1)

    def say(self):
        """In a task: says that it is here, and does not wait."""
        self._use('arrivals', os.write, b'a')

    def wait(self, count=1):
        """In the test: waits until so many tasks have come."""
        for _ in range(count):
            os.read(self.kept[0], 1)

    def open(self, count=1000):
        """In the test: lets so many go on; by default all there will ever be."""
        os.write(self.kept[1], b'p' * count)

    def give_up(self):
        """In the test, at its end: who waits goes on, and who comes late finds files that let everybody through."""
        self.open()
        for name in ('arrivals', 'permits'):
            path = os.path.join(self.folder, name)
            with open(path + '-late', 'wb') as file:
                file.write(b'p' * 1000)
            os.rename(file.name, path)
        for fd in self.kept:
            os.close(fd)


class Notes:
    """Lines that tasks write, whole and in order, and that the test reads."""

    def __init__(self, path):
        self.path = str(path)

    def add(self, *words):
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, (' '.join(map(str, words)) + '\n').encode())
        finally:
            os.close(fd)

    def read(self):
        try:
            with open(self.path) as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []


class Custom(Exception):
    """An exception of the user, with arguments and an attribute."""

    def __init__(self, first, second=None):
        super().__init__(first, second)
        self.extra = first


def yes():
    return True


def none():
    return None


def echo(value=None):
    return value


def spread(*args, **kwargs):
    return args, kwargs


def fail(message='ni'):
    raise ValueError(message)


def fail_custom():
    raise Custom('one', 2)


def raise_this(error):
    raise error


def fail_deep(depth):
    if depth:
        return fail_deep(depth - 1)
    raise KeyError('at the bottom')


def with_runium(runium):
    return dict(runium)


def with_runium_and_more(first, runium, second=2):
    return first, second, runium['iterations'], runium['iterations_remaining']


def note_iteration(notes, runium):
    notes.add(runium['iterations'], runium['iterations_remaining'])
    return runium['iterations']


def enter(gate, value='through'):
    gate.enter()
    return value



def enter_and_note(gate, notes, runium):
    notes.add('function', runium['iterations'])
    gate.enter()
    return runium['iterations']


def say_iteration(gate, notes, runium):
    notes.add('function', runium['iterations'])
    gate.say()
    return runium['iterations']


def say_remaining(gate, notes, runium):
    notes.add(runium['iterations'], runium['iterations_remaining'])
    gate.say()
    return runium['iterations']


def fail_odd(notes, runium):
    notes.add('function', runium['iterations'])
    if runium['iterations'] % 2:
        raise ValueError(runium['iterations'])
    return runium['iterations']


def fail_at(notes, when, runium):
    notes.add('function', runium['iterations'])
    if runium['iterations'] in when:
        raise ValueError(runium['iterations'])
    return runium['iterations']


def where():
    return os.getpid(), threading.get_ident()


def where_noted(notes):
    notes.add('function', os.getpid(), threading.get_native_id())


def what_the_call_says():
    call = runium.current_call()
    return call.iteration, call.remaining, call.missed, call.name, call.stopping


def note_what_the_call_says(notes):
    call = runium.current_call()
    notes.add(call.iteration, call.remaining, call.missed, call.name, call.stopping)


def report_and_enter(gate):
    runium.current_call().report(0.25)
    gate.enter()


def enter_then_say_stopping(gate):
    gate.enter()
    return runium.current_call().stopping


def stop_self_at(number, notes, runium):
    import runium as package
    notes.add('function', runium['iterations'])
    if runium['iterations'] == number:
        package.current_call().stop()
    return runium['iterations']


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def note_missed(notes, long_one, seconds):
    call = runium.current_call()
    notes.add(call.iteration, call.missed)
    if call.iteration == long_one:
        time.sleep(seconds)


def die(number=signal.SIGKILL):
    os.kill(os.getpid(), number)
    time.sleep(60)


def exit_hard(status):
    os._exit(status)


def die_at(number, notes, runium):
    notes.add('function', runium['iterations'])
    if runium['iterations'] == number:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    return runium['iterations']


def wait_till_told(notes):
    call = runium.current_call()
    while not call.stopping:
        time.sleep(0.01)
    notes.add('told')
    return 'came back'


def sleep_for_ever():
    while True:
        time.sleep(60)


def leave(error):
    raise error


def exit_with(status):
    sys.exit(status)


def unpicklable():
    return threading.Lock()


def change_my_kwargs(**kwargs):
    kwargs['more'] = True
    return sorted(kwargs)


class Hooks:
    """The four callbacks, each of which notes that it ran and with what, and can return or raise something."""

    def __init__(self, notes, returns=None, raises=(), gate=None):
        self.notes = notes
        self.returns = returns or {}
        self.raises = raises
        self.gate = gate

    def _ran(self, name, *outcome):
        self.notes.add(name, *(shown(value) for value in outcome))
        if self.gate is not None and name == 'on_finished':
            self.gate.enter()
        if name in self.raises:
            raise RuntimeError(name)
        return self.returns.get(name)

    def on_iter(self, success, error):
        return self._ran('on_iter', success, error)

    def on_success(self, success):
        return self._ran('on_success', success)

    def on_error(self, error):
        return self._ran('on_error', error)

    def on_finished(self, success, error):
        return self._ran('on_finished', success, error)

    def attach(self, task, updates=()):
        for name in ('on_iter', 'on_success', 'on_error', 'on_finished'):
            getattr(task, name)(getattr(self, name), updates_result=name in updates)
        return task


def shown(value):
    return f'{type(value).__name__}({value})' if isinstance(value, BaseException) else value


class Where:
    """Callbacks that note the process and the thread that they run in."""

    def __init__(self, notes):
        self.notes = notes

    def both(self, success, error):
        self.notes.add('hook', os.getpid(), threading.get_native_id())

    def one(self, value):
        self.notes.add('hook', os.getpid(), threading.get_native_id())


class Unreadable:
    """Pickles, and cannot be unpickled."""

    def __reduce__(self):
        return raise_this, (LookupError('not to be read'),)


def return_unreadable():
    return Unreadable()


class Evil:
    """What happens when somebody pickles it is up to it."""

    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        if self.how == 'raises':
            raise ZeroDivisionError('while pickling')
        if self.how == 'exits':
            sys.exit(5)
        return echo, ('harmless',)


def return_evil(how):
    return Evil(how)
