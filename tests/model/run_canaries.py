#!/usr/bin/env python3
"""Runs a check, which must find nothing, and its mutants, each of which it must find.

    run_canaries.py CHECK MUTANT...

A program that ends with 0 found no error, with 1 an error; any other end is a failure of the checker.
"""
import os
import subprocess
import sys


def run(program):
    result = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=False)
    return result.returncode, result.stdout


def error_of(output):
    """The line of the first error."""
    return next((line for line in output.splitlines() if not line.startswith(' ')), '')


def main(check, mutants):
    code, output = run(check)
    print(output, end='')
    if code != 0:
        return 1
    summary = output.splitlines()[-1]
    caught = 0
    for mutant in mutants:
        code, output = run(mutant)
        caught += code == 1
        verdict = {0: 'NOT CAUGHT', 1: 'caught'}.get(code, f'ended with {code}')
        print(f'  {os.path.basename(mutant)}: {verdict}: {error_of(output)}', flush=True)
    print(f'{summary}, {caught} of {len(mutants)} mutants caught')
    return 0 if caught == len(mutants) else 1


sys.exit(main(sys.argv[1], sys.argv[2:]))
