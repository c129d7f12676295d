#!/usr/bin/env python3
"""X3: Frama-C proves the functions that touch foreign bytes, for any bytes, any length, and bytes that change.

    prove.py ROOT           every goal of FUNCTIONS must be proved: the contracts in src/value/wire.c, and the absence
                            of undefined behaviour (WP with RTE; Z3 decides)
    prove.py ROOT --canary  with a check removed, some goal must fail

The bytes are volatile in the source, so each read of one is any byte: nothing is assumed to hold still.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FUNCTIONS = ['take_number', 'take_span', 'copy_text', 'read_scalar']
CANARIES = {
    'take_number': ('if (source->left < width) return false;', ''),
    'take_span': (' || length > source->left) return false;', ') return false;'),
    'copy_text': ("if (copy[i] == '\\0') return false;", ''),
}
SECONDS = 30  # for one goal; the slowest takes 3


def find_provers():
    """Why3 wants a list of the provers that it has; it goes into the working directory, not into the home."""
    path = os.path.abspath('why3.conf')
    subprocess.run(['why3', '-C', path, 'config', 'detect'], check=True, capture_output=True)
    return path


def prove(root, source, functions, seconds):
    includes = f'-I{root}/include -I{root}/src -I{root}/tests/proof -D_GNU_SOURCE -DRNI_MODEL'
    command = ['frama-c', '-c11', f'-cpp-extra-args={includes}', '-wp', '-wp-rte', '-wp-prover', 'z3', '-wp-timeout',
               str(seconds), '-wp-par', '2', '-wp-fct', ','.join(functions), str(source)]
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    figure = re.search(r'Proved goals:\s*(\d+) / (\d+)', output)
    return (int(figure[1]), int(figure[2]), output) if figure else (0, 0, output)


def canary(root, text, function):
    old, new = CANARIES[function]
    if text.count(old) != 1:
        sys.exit(f'{function}: the text is there {text.count(old)} times: {old}')
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / 'wire.c'
        copy.write_text(text.replace(old, new))
        proved, goals, _ = prove(root, copy, [function], 5)
    print(f'  {function}, without "{old}": {proved} of {goals} goals')
    return 0 < proved < goals


def main(root, *options):
    source = pathlib.Path(root) / 'src/value/wire.c'
    os.environ['WHY3CONFIG'] = find_provers()
    if options:
        caught = sum(canary(root, source.read_text(), function) for function in CANARIES)
        print(f'X3: {caught} of {len(CANARIES)} mutants caught')
        return 0 if caught == len(CANARIES) else 1
    proved, goals, output = prove(root, source, FUNCTIONS, SECONDS)
    if not goals or proved < goals:
        print(output)
    print(f'X3 wire: {proved} of {goals} goals of {", ".join(FUNCTIONS)} proved')
    return 0 if goals and proved == goals else 1


sys.exit(main(*sys.argv[1:]))
