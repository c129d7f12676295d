#!/usr/bin/env python3
"""T6 from outside: strace makes the n-th clone3, mmap or futex call of a scenario fail.

A second witness beside rn_testing_fail(): it needs no help from the library, and it also reaches the
calls that the C library makes for it. Each scenario is traced once to count its calls, from the
getppid() that marks the end of start-up; then each call is made to fail in a run of its own. A futex
call is interrupted by a signal rather than failed, because a wake that never happens is not a fault
that a system has.

usage: t6_strace.py [--canary] PROGRAM        RUNIUM_TORTURE=1 for every point
"""
import os
import re
import subprocess
import sys
import tempfile

SKIPPED = 77
LIMIT_S = 40
# The call, what strace does to it, and what the scenario may then be refused.
KINDS = [
    ("clone3", "error=EAGAIN", "threads"),
    ("mmap", "error=ENOMEM", "any"),
    ("futex", "signal=SIGUSR1", "nothing"),
]


def traced(program, arguments, options):
    command = ["strace", "-f", "-qq", *options, program, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S)


def calls_of_main(program, scenario, call):
    """How often the main thread makes the call before the mark, and after it."""
    with tempfile.NamedTemporaryFile("r") as log:
        options = ["-o", log.name, "-e", f"trace={call},getppid"]
        run = traced(program, [f"--scenario={scenario}"], options)
        lines = log.read().splitlines()
    if run.returncode != 0:
        raise SystemExit(f"T6 outside: {scenario} fails without any fault:\n{run.stdout}")
    main = lines[0].split()[0]
    names = [match.group(1) for match in (re.match(main + r"\s+(\w+)\(", line) for line in lines) if match]
    mark = names.index("getppid")
    return names[:mark].count(call), names[mark:].count(call)


def fails(program, scenario, kind, when):
    """Runs one point; returns what went wrong, or None."""
    call, action, refused = kind
    options = ["-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:{action}:when={when}"]
    try:
        run = traced(program, [f"--scenario={scenario}", f"--refused={refused}"], options)
    except subprocess.TimeoutExpired:
        return f"hung for {LIMIT_S} s"
    return None if run.returncode == 0 else f"exit {run.returncode}\n{run.stdout}"


def points(program, scenario, kind, step):
    before, after = calls_of_main(program, scenario, kind[0])
    for number in range(1, after + 1, step):
        yield f"{before + number}"
    if after and kind[1].startswith("error"):
        yield f"{before + 1}+"


def canary(program):
    """A refusal that the scenario is not told of must be reported as a fault of the library."""
    before, _ = calls_of_main(program, "open_and_close", "clone3")
    kind = ("clone3", "error=EAGAIN", "nothing")
    noticed = fails(program, "open_and_close", kind, f"{before + 1}+")
    print("T6 outside:", "1 of 1 canaries noticed" if noticed else "0 of 1 canaries noticed")
    return 1 if noticed else 0


def main():
    program = os.path.abspath(sys.argv[-1])
    if subprocess.run(["sh", "-c", "command -v strace"], stdout=subprocess.DEVNULL).returncode != 0:
        print("T6 outside: skipped: strace is not installed (package strace)")
        return SKIPPED
    listed = subprocess.run([program, "--list"], stdout=subprocess.PIPE, text=True)
    if listed.returncode == SKIPPED:
        print(listed.stdout, end="")
        return SKIPPED
    if "--canary" in sys.argv:
        return canary(program)
    step = 1 if os.environ.get("RUNIUM_TORTURE", "0") not in ("", "0") else 3
    good = every = 0
    for scenario in listed.stdout.split()[listed.stdout.split().index("open_and_close"):]:
        for kind in KINDS:
            for when in points(program, scenario, kind, step):
                every += 1
                wrong = fails(program, scenario, kind, when)
                good += wrong is None
                if wrong:
                    print(f"T6 outside: {scenario}, {kind[0]} {when}: {wrong}")
    print(f"T6 outside: {good} of {every} system calls")
    return 0 if good == every > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
