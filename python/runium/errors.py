"""What Runium itself raises. What a task raises is its own, and comes back as it is."""


class RuniumError(Exception):
    """The base of all errors of Runium."""


class Closed(RuniumError):
    """The runtime is closing or closed, and accepts no new runs."""


class Deadlock(RuniumError):
    """This wait could never end; the message shows the chain of tasks."""


class Forked(RuniumError):
    """This belongs to the parent process; open a runtime of your own after os.fork()."""


class NotPicklable(RuniumError, TypeError):
    """A function, an argument, or a result cannot travel to a worker process and back; the message names the culprit."""


class Overtime(RuniumError, TimeoutError):
    """The iteration took longer than its timeout; the message says how it was ended, and after how long."""


class Quarantined(RuniumError):
    """The function has killed too many worker processes, and is not run again by this runtime."""


class WorkerCrashed(RuniumError):
    """The worker process died in this iteration or callback: that is its outcome, and nobody else's.

    signal:        its number, or None
    exit_status:   what it exited with, or None
    native_stack:  of C functions, as text; '' if there is none
    python_stack:  of Python functions, as text; '' if there is none
    """

    def __init__(self, message, signal=None, exit_status=None, native_stack='', python_stack=''):
        super().__init__(message, signal, exit_status, native_stack, python_stack)
        self.message = message
        self.signal = signal
        self.exit_status = exit_status
        self.native_stack = native_stack
        self.python_stack = python_stack

    def __str__(self):
        return self.message


def crashed(messages):
    """The WorkerCrashed of what the core says: what the process died of, then where, then its last words on stderr."""
    import re
    message = messages[0]
    signal = re.search(r'was killed by \w+ \((\d+)\)', message)
    status = re.search(r'ended with exit\((\d+)\)', message)
    stacks = {'backtrace': '', 'stderr:': ''}
    for text in messages[1:]:
        for name in stacks:
            if text.startswith(name):
                stacks[name] = text.partition('\n')[2]
    native = '\n'.join(line.strip() for line in stacks['backtrace'].splitlines())
    python = [line[4:] for line in stacks['stderr:'].splitlines() if re.match(r'      File ".*", line \d+ in ', line)]
    return WorkerCrashed(message, signal and int(signal[1]), status and int(status[1]), native, '\n'.join(python))


class RemoteTraceback(Exception):
    """The traceback of an exception in the worker process where it was raised: the cause of that exception here."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text

    def __str__(self):
        return '\n' + self.text
