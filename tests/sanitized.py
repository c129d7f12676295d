#!/usr/bin/python3
"""Runs a test that has worker processes, in a build with sanitizers, and judges what they found in any of its processes.

    sanitized.py [--finds TEXT] PROGRAM [PARAMETER ...]

What a sanitizer finds ends the process that it is in. To the program a worker's end is one crash more, which a test may
expect, and what the worker wrote is lost with a program that does not close its runtime. So every process writes what is
found in it into a file of its own, and the test fails if there is such a file, whatever the program says. With --finds,
the canary: it passes if the program is content and what is found is that.
"""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

# Deaths are told by the library's own handlers, which leave alone a signal that has one already. And a worker is the
# program with the library before everything else, so that AddressSanitizer is not the first.
OPTIONS = {'verify_asan_link_order': 0,
           **{f'handle_{name}': 0 for name in ('segv', 'sigbus', 'sigfpe', 'sigill', 'abort')}}
SANITIZERS = ['ASAN', 'UBSAN', 'TSAN']
NO_REPORT = b"ERROR: Can't open file"  # says a sanitizer of a report, to standard error
BROKEN = 1


def environment(folder):
    """The tests' options, and these. Programs let workers in a sandbox write into the folder (tests/conformance/support.c).

    Beside AddressSanitizer UndefinedBehaviorSanitizer has no file of its own: sanitized.c writes it.
    """
    made = {**os.environ, 'RUNIUM_TEST_REPORTS': str(folder)}
    for sanitizer in SANITIZERS:
        name = f'{sanitizer}_OPTIONS'
        words = [f'{option}={value}' for option, value in {**OPTIONS, 'log_path': folder / sanitizer}.items()]
        made[name] = ':'.join([*filter(None, [os.environ.get(name)]), *words])
    return made


def run(command, folder):
    """The status, as a shell says it, and what the processes wrote to standard error."""
    said = folder / 'stderr'
    try:
        with said.open('wb') as stderr:
            status = subprocess.run(command, env=environment(folder), stderr=stderr).returncode
    finally:
        sys.stderr.buffer.write(said.read_bytes())
        sys.stderr.flush()
    return status if status >= 0 else 128 - status, said.read_bytes()


def reports(folder):
    return ''.join(path.read_text(errors='replace') or f'{path.name} is empty\n'
                   for path in sorted(folder.iterdir()) if path.name.split('.')[0] in SANITIZERS)


def main(arguments):
    wanted = None
    if arguments[0] == '--finds':
        wanted, arguments = arguments[1], arguments[2:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(BROKEN))  # it takes too long: what was said is shown
    with tempfile.TemporaryDirectory(prefix='runium-reports-') as folder:
        os.chmod(folder, 0o1777)  # some tests become another user
        status, said = run(arguments, pathlib.Path(folder))
        found = reports(pathlib.Path(folder))
    print(found, end='', file=sys.stderr)
    if wanted is not None:
        return 0 if status == 0 and wanted in found else BROKEN
    return status or (BROKEN if found or NO_REPORT in said else 0)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
