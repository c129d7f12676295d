"""The examples of the original's page about callbacks, word for word, and what that page promises of them.

An example runs with the name `runium` bound to a runtime, as the page has it; names that it takes for granted
(resend_email, error_callback) are supplied here, and note that they were called.
"""
import functools

import pytest

import runium as package
import tasks
from runium.core import Runium

ON_FINISHED = '''\
def send_email():
    print("Sending email...")
    return "Email sent."


# The callback must have the success and error arguments.
def callback(success, error):
    if success:
        return True
    elif error:
        return "An error occurred."


# Attach the callback like this
async_task = runium.new_task(send_email).on_finished(callback).run()


# You may also choose to get the result of the callback instead of the task
# by setting the parameter updates_result to True.
async_task = runium.new_task(send_email).on_finished(
    callback, updates_result=True).run()

# This will return True
async_task.result()
'''

ON_SUCCESS = '''\
def send_email():
    print("Sending email...")
    return "Email sent."


# The callback must have the success argument.
def callback(success):
    return ("Success!")

# Attach the callback like this
async_task = runium.new_task(send_email).on_success(callback).run()

# This callback is often used together with on_error callback:
async_task = runium.new_task(
    send_email
).on_success(
    callback
).on_error(
    error_callback
).run()
'''

ON_ERROR = '''\
def send_email():
    raise Exception("Email was not sent.)


# The callback must have the error argument.
def callback(error):
    resend_email()


# Attach the callback like this
async_task = runium.new_task(send_email).on_error(callback).run()

# This callback is often used together with on_success callback:
async_task = runium.new_task(
    send_email
).on_success(
    callback
).on_error(
    error_callback
).run()
'''

ON_ITER = '''\
# The callback must have the success and error arguments.
def callback(success, error):
    if success:
        print(success)
        return True
    elif error:
        print(error)
        return "An error occurred."

# The callback will be executed 3 times.
async_task = runium.new_task(send_email).on_iter(callback).run(times=3)
'''

# The page lacks one quotation mark, without which its text is no Python. Nothing else is put right.
MISPRINT = ('"Email was not sent.)', '"Email was not sent.")')


class Recorder:
    """The runtime, which also keeps the tasks: the examples drop all but the last. It opens with the first of them, within
    the test: worker processes write to the stdout that there was when their runtime opened."""

    def __init__(self, open_runtime):
        self.open_runtime = open_runtime
        self.made = []

    @functools.cached_property
    def runtime(self):
        return self.open_runtime()

    def new_task(self, *args, **kwargs):
        task = self.runtime.new_task(*args, **kwargs)
        self.made.append(task)
        return task


@pytest.fixture(params=['multithreading', 'multiprocessing', 'the module itself'])
def recorder(request):
    if request.param == 'multiprocessing':
        pytest.importorskip('cloudpickle', reason='functions without a module travel by cloudpickle')
    if request.param == 'the module itself':
        yield Recorder(lambda: package)
    else:
        recorder = Recorder(lambda: Runium(mode=request.param, max_workers=2, debug=False))
        yield recorder
        recorder.runtime.close()


def run_example(text, recorder, notes, **supplied):
    """Runs it as a script would be, and returns its names and the futures of its runs, in order."""
    names = {'__name__': '__main__', 'runium': recorder,
             'resend_email': functools.partial(notes.add, 'resend_email'),
             'error_callback': functools.partial(notes.add, 'error_callback'), **supplied}
    exec(compile(text, 'callbacks.txt', 'exec'), names)
    return names, [task.future for task in recorder.made]


def printed(recorder, capfd):
    """All that was printed, by worker processes too, without the ends of its lines: print() writes one by itself, and what
    another thread prints may come in between."""
    if recorder.runtime is not package:
        recorder.runtime.close()
    return capfd.readouterr().out.replace('\n', '')


def test_on_finished_runs_after_success_and_gives_the_result_if_it_is_told_to(recorder, notes, capfd):
    names, (first, second) = run_example(ON_FINISHED, recorder, notes)
    assert names['async_task'] is second
    assert second.result() is True
    assert first.result() == 'Email sent.'
    assert printed(recorder, capfd) == 'Sending email...' * 2


def test_on_success_runs_after_success_and_on_error_does_not(recorder, notes, capfd):
    names, futures = run_example(ON_SUCCESS, recorder, notes)
    assert [future.result() for future in futures] == ['Email sent.'] * 2
    assert notes.read() == []
    assert printed(recorder, capfd) == 'Sending email...' * 2


def test_on_success_gives_the_result_if_it_is_told_to(recorder, notes):
    text = ON_SUCCESS.replace('.on_success(callback)', '.on_success(callback, updates_result=True)')
    _, (first, second) = run_example(text, recorder, notes)
    assert first.result() == 'Success!'
    assert second.result() == 'Email sent.'


def test_the_example_for_on_error_lacks_one_quotation_mark_and_nothing_else(recorder, notes):
    with pytest.raises(SyntaxError):
        compile(ON_ERROR, 'callbacks.txt', 'exec')
    assert ON_ERROR.count(MISPRINT[0]) == 1
    assert len(ON_ERROR.replace(*MISPRINT)) == len(ON_ERROR) + 1
    compile(ON_ERROR.replace(*MISPRINT), 'callbacks.txt', 'exec')


def test_on_error_runs_after_an_exception_and_on_success_does_not(recorder, notes):
    names, futures = run_example(ON_ERROR.replace(*MISPRINT), recorder, notes)
    for future in futures:
        error = future.result()
        assert type(error) is Exception and str(error) == 'Email was not sent.'
        assert future.exception() is None
    assert sorted(notes.read()) == ['error_callback Email was not sent.', 'resend_email']


@pytest.mark.parametrize('updates', [False, True])
def test_on_error_gives_the_result_if_it_is_told_to(recorder, notes, updates):
    text = ON_ERROR.replace(*MISPRINT).replace('.on_error(callback)', f'.on_error(callback, updates_result={updates})')
    _, (first, _) = run_example(text, recorder, notes)
    result = first.result()
    assert result is None if updates else str(result) == 'Email was not sent.'


def test_on_iter_runs_three_times_after_success(recorder, notes, capfd):
    sent, _ = run_example(ON_SUCCESS.split('\n\n\n')[0], recorder, notes)
    _, (future,) = run_example(ON_ITER, recorder, notes, send_email=sent['send_email'])
    assert future.result() == 'Email sent.'
    assert printed(recorder, capfd) == 'Sending email...Email sent.' * 3


def test_on_iter_runs_three_times_after_exceptions(recorder, notes, capfd):
    sent, _ = run_example(ON_ERROR.replace(*MISPRINT).split('\n\n\n')[0], recorder, notes)
    _, (future,) = run_example(ON_ITER, recorder, notes, send_email=sent['send_email'])
    assert str(future.result()) == 'Email was not sent.'
    assert printed(recorder, capfd) == 'Email was not sent.' * 3


@pytest.mark.parametrize('example, result', [(ON_SUCCESS, True), (ON_ERROR.replace(*MISPRINT), 'An error occurred.')])
def test_on_iter_gives_the_result_if_it_is_told_to(recorder, notes, example, result):
    sent, _ = run_example(example.split('\n\n\n')[0], recorder, notes)
    text = ON_ITER.replace('on_iter(callback)', 'on_iter(callback, updates_result=True)')
    _, (future,) = run_example(text, recorder, notes, send_email=sent['send_email'])
    assert future.result() == result


@pytest.mark.parametrize('fails', [False, True])
def test_final_callbacks_run_once_however_often_the_task_is_set_to_run(recorder, notes, fails):
    hooks = tasks.Hooks(notes)
    task = hooks.attach(recorder.new_task(tasks.fail if fails else tasks.yes))
    task.run(times=3).result()
    ran = [line.split()[0] for line in notes.read()]
    assert ran == ['on_iter'] * 3 + ['on_error' if fails else 'on_success', 'on_finished']


def test_run_returns_a_future_to_which_done_callbacks_are_added(recorder):
    called = []
    future = recorder.new_task(tasks.yes).run()
    future.result()
    future.add_done_callback(called.append)
    assert called == [future]


def test_callbacks_do_not_block_the_program(recorder, gate, notes):
    hooks = tasks.Hooks(notes, gate=gate)
    future = hooks.attach(recorder.new_task(tasks.yes)).run()
    gate.wait()  # the callback runs, and the program goes on meanwhile
    assert not future.done()
    gate.open()
    assert future.result() is True
