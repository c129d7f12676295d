"""Fixtures: runtimes of both modes, a guard against hanging, and scripts that run in an interpreter of their own."""
import faulthandler
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid

import pytest

import tasks
from runium.core import Runium

# A shell that starts something in the background has it ignore Ctrl-C, and so would the programs of these tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

MODES = ('multithreading', 'multiprocessing')
STDERR = pytest.StashKey()
HANG = float(os.environ.get('RUNIUM_TEST_HANG', 100))  # seconds after which a test is taken to hang, on a machine however busy


def pytest_configure(config):
    """Keeps the real stderr: what hang_guard() prints is not to be captured, since nobody would ever print that."""
    with config.pluginmanager.getplugin('capturemanager').global_and_fixture_disabled():
        config.stash[STDERR] = os.dup(2)


@pytest.fixture(autouse=True)
def hang_guard(request):
    """Ends everything, with the name of the test and the stacks of all threads, if a test hangs."""
    stderr = request.config.stash[STDERR]
    faulthandler.dump_traceback_later(HANG, exit=True, file=stderr)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope='session')
def shared():
    """A runtime for each mode that most tests share: to open one takes longer than most tests."""
    runtimes = {}

    def of(mode):
        if mode not in runtimes:
            runtimes[mode] = Runium(mode=mode, max_workers=4 if mode == 'multithreading' else 2, debug=False)
        return runtimes[mode]

    yield of
    for runtime in runtimes.values():
        assert runtime.close('stop', within=60), 'a test left something behind that does not stop'


@pytest.fixture(params=MODES)
def rn(request, shared):
    """A runtime, once of each mode. Others use it too."""
    return shared(request.param)


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def threads(shared):
    return shared('multithreading')


@pytest.fixture
def processes(shared):
    return shared('multiprocessing')


@pytest.fixture
def open_runtime():
    """Opens runtimes that only this test uses, and closes those that it leaves open."""
    opened = []

    def open_(mode='multithreading', max_workers=2, debug=False, **more):
        runtime = Runium(mode=mode, max_workers=max_workers, debug=debug, **more)
        opened.append(runtime)
        return runtime

    yield open_
    for runtime in opened:
        try:
            runtime.close('stop', within=60)
        except Exception as error:
            assert type(error).__name__ == 'Closed', error


@pytest.fixture
def gates(tmp_path):
    """As many gates as a test asks for."""
    made = []

    def another():
        folder = tmp_path / f'gate-{len(made)}'
        folder.mkdir()
        made.append(tasks.Gate(folder).make())
        return made[-1]

    yield another
    for gate in made:
        gate.give_up()


@pytest.fixture
def gate(gates):
    return gates()


@pytest.fixture
def numpy():
    """The module, for those tests that cannot do without; also the sign by which references.py knows them."""
    return pytest.importorskip('numpy')


@pytest.fixture
def notes(tmp_path):
    return tasks.Notes(tmp_path / 'notes')


class Ended:
    """How a script ended: its status, what it wrote, and which of its processes were still there afterwards."""

    def __init__(self, status, out, err, left, cores):
        self.status, self.out, self.err, self.left, self.cores = status, out, err, left, cores

    def __repr__(self):
        return f'status {self.status}, left {self.left}, cores {self.cores}\n--- stdout\n{self.out}--- stderr\n{self.err}'


def processes_with(mark):
    """The processes that have the mark in their environment, as "pid command"."""
    found = []
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open(f'/proc/{entry}/environ', 'rb') as file:
                if mark.encode() not in file.read():
                    continue
            with open(f'/proc/{entry}/cmdline', 'rb') as file:
                found.append(f'{entry} {file.read().decode(errors="replace")}')
        except OSError:
            pass
    return found


def processes_left(mark, seconds=20):
    """As processes_with(), but gives them time to end: they may be at it."""
    deadline = time.monotonic() + seconds
    left = processes_with(mark)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = processes_with(mark)
    return left


@pytest.fixture
def script(tmp_path):
    """Runs a program in an interpreter of its own, to its end."""

    def run(text, *arguments, timeout=60, options=(), started=None, **variables):
        path = tmp_path / 'script.py'
        path.write_text(textwrap.dedent(text))
        mark = f'RUNIUM_TEST={uuid.uuid4().hex}'
        environment = dict(os.environ, **variables)
        environment['RUNIUM_TEST'] = mark.split('=')[1]
        environment.pop('PYTHONUNBUFFERED', None)
        environment['PYTHONPATH'] = os.pathsep.join(entry for entry in sys.path if entry)
        process = subprocess.Popen([sys.executable, *options, str(path), *arguments], cwd=tmp_path, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            if started is not None:
                started(process)
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return Ended(process.returncode, out, err, processes_left(mark), [p.name for p in tmp_path.glob('core*')])

    return run
