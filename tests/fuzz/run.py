#!/usr/bin/env python3
"""Runs a fuzz target: the corpus first, then so many further executions. Prints the figure last.

    run.py PROGRAM CORPUS RUNS               it must find nothing
    run.py --canaries CORPUS RUNS MUTANT...  each mutant must be found

libFuzzer's words: https://llvm.org/docs/LibFuzzer.html. A finding stays in the working directory.
"""
import os
import re
import subprocess
import sys
import tempfile

LONGEST = 1024  # bytes of an input: enough for every construct, and small inputs are fast
HANG_GUARD_SECONDS = 1200


def fuzz(program, corpus, runs, artifacts):
    with tempfile.TemporaryDirectory() as found:
        command = [program, found, corpus, f'-runs={runs}', f'-max_len={LONGEST}', '-timeout=10', '-rss_limit_mb=1024',
                   f'-artifact_prefix={artifacts}/', '-print_final_stats=1', f'-max_total_time={HANG_GUARD_SECONDS}']
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return result.returncode, result.stdout.decode(errors='replace')


def executions(output):
    match = re.search(r'number_of_executed_units:\s*(\d+)', output)
    return int(match[1]) if match else 0


def finding(output):
    match = re.search(r'^(?:==\d+==\s*ERROR: .*|.*runtime error: .*)$', output, re.M)
    return match and re.sub(r'==\d+==\s*ERROR: ', '', match[0])[:110]


def replay(program, corpus, artifacts):
    """Each input as a whole, also those that are longer than LONGEST."""
    files = sorted(os.path.join(corpus, name) for name in os.listdir(corpus))
    result = subprocess.run([program, f'-artifact_prefix={artifacts}/', *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return result.returncode, result.stdout.decode(errors='replace'), len(files)


def target(program, corpus, runs):
    code, output, count = replay(program, corpus, os.getcwd())
    if code == 0:
        code, output = fuzz(program, corpus, runs, os.getcwd())
    if code != 0 or executions(output) < int(runs):
        print(output)
        return 1
    print(f'X2 {os.path.basename(program)}: corpus of {count}, {executions(output)} executions, 0 findings')
    return 0


def canaries(corpus, runs, mutants):
    caught = 0
    for mutant in mutants:
        with tempfile.TemporaryDirectory() as artifacts:
            code, output, _ = replay(mutant, corpus, artifacts)
            if code == 0:
                code, output = fuzz(mutant, corpus, runs, artifacts)
        found = code != 0 and finding(output)
        caught += bool(found)
        print(f'  {os.path.basename(mutant)}: {found or f"NOT CAUGHT, ended with {code}"}', flush=True)
    print(f'X2: {caught} of {len(mutants)} mutants caught')
    return 0 if caught == len(mutants) else 1


if sys.argv[1] == '--canaries':
    sys.exit(canaries(sys.argv[2], sys.argv[3], sys.argv[4:]))
sys.exit(target(*sys.argv[1:4]))
