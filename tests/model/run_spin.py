#!/usr/bin/env python3
"""Checks a model in Promela with spin: no error in it, an error in each of its mutants.

    run_spin.py MODEL.pml

Each search is exhaustive and within 2 GB (8 GB in the long form, RUNIUM_TORTURE=1), else it fails.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

TORTURE = 'RUNIUM_TORTURE' in os.environ
MEMORY_MB = 8000 if TORTURE else 2000
LIVENESS = '-DLIVENESS'

# (what, options of the model), and the small form in which each mutant shows.
MODELS = {
    'eventcount': {
        'id': 'T1',
        'searches': [
            ('3 producers, 3 workers, 2 seats', '-DPRODUCERS=3 -DWORKERS=3 -DSEATS=2'),
            ('a task waits for another', '-DPRODUCERS=2 -DWORKERS=2 -DTASK_WAITS'),
            ('a task blocks, 1 seat', '-DPRODUCERS=1 -DTASKS=3 -DWORKERS=2 -DSEATS=1 -DTASK_WAITS -DTASK_BLOCKS'),
            ('liveness, 2 producers, 2 workers', '-DPRODUCERS=2 -DWORKERS=2 ' + LIVENESS),
            ('liveness, a task blocks, 1 seat',
             '-DPRODUCERS=1 -DTASKS=2 -DWORKERS=2 -DSEATS=1 -DTASK_WAITS -DTASK_BLOCKS ' + LIVENESS),
        ],
        'torture': [
            ('3 producers, 3 workers, 3 seats', '-DPRODUCERS=3 -DWORKERS=3 -DSEATS=3'),
            ('a task blocks, 3 workers', '-DPRODUCERS=2 -DTASKS=2 -DWORKERS=3 -DSEATS=2 -DTASK_WAITS -DTASK_BLOCKS'),
            ('liveness, 2 producers, 3 workers', '-DPRODUCERS=2 -DWORKERS=3 ' + LIVENESS),
        ],
        'small': '-DPRODUCERS=1 -DTASKS=3 -DWORKERS=2 -DSEATS=1 -DTASK_WAITS -DTASK_BLOCKS',
        'small_of': {
            'NEVER_LAST': '-DPRODUCERS=2 -DWORKERS=2 -DTASK_WAITS',
            'NO_SECOND_LOOK': '-DPRODUCERS=2 -DWORKERS=2 ' + LIVENESS,
            'ASLEEP_AGAIN_IF_THE_EPOCH_STANDS': '-DPRODUCERS=2 -DWORKERS=2',
            'EPOCH_READ_TOO_LATE': '-DPRODUCERS=2 -DWORKERS=2',
        },
    },
    'completion': {
        'id': 'T2',
        'searches': [
            ('3 adders, 4 resolvers', ''),
            ('two ticks, 1 adder', '-DTICKS=2 -DADDERS=1'),
        ],
        'torture': [
            ('3 adders, 4 resolvers, a sleeper', '-DSLEEPERS=1'),
            ('two ticks, 3 adders', '-DTICKS=2'),
        ],
        'small': '-DTICKS=2 -DADDERS=1',
        'small_of': {},
    },
    'batch': {
        'id': 'P1 batch',
        'searches': [
            ('3 runs, a kill, a batch is revoked', '-DRUNS=3'),
            ('3 runs, a kill, a task that asks', '-DRUNS=3 -DASKS=1'),
            ('3 runs, a kill, a task that does not end', '-DRUNS=3 -DHANGS=1'),
            ('2 runs, a kill, batches are revoked twice', '-DRUNS=2 -DREVOKES=2'),
        ],
        'torture': [
            ('2 runs, two kills, batches are revoked twice', '-DRUNS=2 -DKILLS=2 -DREVOKES=2'),
        ],
        'small': '-DRUNS=2',
        'small_of': {
            'DEATH_READ_LATE': '-DRUNS=2 -DASKS=1',
            'TALKS_NOT_FIRST': '-DRUNS=2 -DASKS=1',
            'NEVER_REVOKES': '-DRUNS=2 -DHANGS=1',
        },
    },
    'stream': {
        'id': 'P1 stream',
        'searches': [
            ('the worker sends twice what is larger than the ring', ''),
            ('the host does', '-DUP=0'),
            ('the worker sends what fits', '-DPIECES=3 -DRING=3 -DMESSAGES=3'),
            ('the host does', '-DUP=0 -DPIECES=3 -DRING=3 -DMESSAGES=3'),
        ],
        'torture': [
            ('the worker sends three times as much', '-DPIECES=7 -DRING=3 -DMESSAGES=3'),
            ('the host does', '-DUP=0 -DPIECES=7 -DRING=3 -DMESSAGES=3'),
        ],
        'small': '',
        'small_of': {},
    },
    'zygote': {
        'id': 'P16 zygote',
        'searches': [
            ('1 worker, 2 turns, it crashes', '-DSLOTS=1 -DUSES=2 -DMISDEEDS=0'),
            ('the zygote is killed or stopped, or the host killed', '-DSLOTS=1 -DWHICH=21 -DLOSSES=1'),
            ('the keeper is killed', '-DSLOTS=1 -DWHICH=2'),
        ],
        'torture': [
            ('2 workers, one crashes', '-DSLOTS=2 -DMISDEEDS=0'),
            ('the zygote is held', '-DSLOTS=1 -DWHICH=8'),
            ('2 workers, the zygote is killed or stopped', '-DSLOTS=2 -DWHICH=5'),
            ('the zygote is killed or stopped, twice', '-DSLOTS=1 -DUSES=2 -DWHICH=5 -DMISDEEDS=2'),
        ],
        'small': '-DSLOTS=1 -DMISDEEDS=0',
        'small_of': {
            'GONE_READ_AFTER_THE_NEWS': '-DSLOTS=1 -DWHICH=1',
            'LEFT_BEFORE_THE_NEWS': '-DSLOTS=1 -DWHICH=1',
            'PARENT_SEEN_FIRST': '-DSLOTS=1 -DWHICH=2',
            'HOST_IS_NOT_WATCHED': '-DSLOTS=1 -DWHICH=16',
            'GIVEN_UP_ALIVE': '-DSLOTS=1 -DUSES=2 -DWHICH=8 -DCRASHES=0',
            'LOST_WORKER_IS_LEFT': '-DSLOTS=1 -DMISDEEDS=0 -DLOSSES=1',
            'LEFT_BY_A_LATER_LOOK': '-DSLOTS=1 -DUSES=2 -DWHICH=1 -DCRASHES=2',
            'ROOM_IS_NOT_WATCHED': '-DSLOTS=2 -DMISDEEDS=0 -DCRASHES=2',
            'LOWERED_LAST': '-DSLOTS=2 -DMISDEEDS=0 -DCRASHES=2',
            'NEWS_ARE_DROPPED': '-DSLOTS=2 -DMISDEEDS=0 -DCRASHES=2',
        },
    },
    'slot': {
        'id': 'P1 slot',
        'searches': [
            ('2 threads, 1 process, a kill, one is recycled', '-DRECYCLES=1'),
            ('1 process, a time-out', '-DTIMEOUTS=1 -DKILLS=0'),
            ('1 process, then none, a kill', '-DROOM_LATER=0'),
            ('2 processes, then none, a kill', '-DROOM=2 -DROOM_LATER=0'),
        ],
        'torture': [
            ('3 runs, 2 processes, then 1, two kills', '-DRUNS=3 -DROOM=2 -DROOM_LATER=1 -DKILLS=2'),
            ('3 runs, 1 process, a kill, a time-out', '-DRUNS=3 -DTIMEOUTS=1 -DRECYCLES=1'),
        ],
        'small': '-DKILLS=1',
        'small_of': {
            'DEAD_ONES_ARE_ABLE': '-DROOM_LATER=0',
            'ANSWER_IS_NOT_AWAITED': '-DTIMEOUTS=1 -DKILLS=0',
            'CONDEMNED_ONE_IS_KEPT': '-DTIMEOUTS=1 -DKILLS=0',
        },
    },
}


def run(command, folder):
    result = subprocess.run(command, cwd=folder, check=False, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode != 0:
        sys.exit(f'{command}\n{result.stdout}')
    return result.stdout


def search(model, options, folder, level='-O1'):
    """States, and the text of the first error or None. A mutant's search is shorter than the compiler is at work on it."""
    run(['spin', '-a', *options.split(), str(model)], folder)
    is_live = LIVENESS in options
    memory = ['-DCOLLAPSE'] if TORTURE else []
    safety = ['-DNFAIR=5'] if is_live else ['-DSAFETY']
    run(['cc', level, '-w', f'-DMEMLIM={MEMORY_MB}', *memory, *safety, '-o', 'pan', 'pan.c'], folder)
    output = run(['./pan', '-m1000000', *(['-a', '-f'] if is_live else [])], folder)
    error = re.search(r'^pan:\d+: (.*)$', output, re.MULTILINE)
    states = re.search(r'^\s*(\d+) states, stored', output, re.MULTILINE)
    errors = re.search(r'errors: (\d+)', output)
    if not error and ('Search not completed' in output or 'max search depth too small' in output or errors[1] != '0'):
        sys.exit(output)
    return int(states[1]), error[1] if error else None


def main(model):
    plan = MODELS[model.stem]
    states, errors, caught = 0, 0, 0
    mutants = sorted(set(re.findall(r'^#\w+(?: defined)?[ (]M_(\w+)\)?$', model.read_text(), re.MULTILINE)))
    with tempfile.TemporaryDirectory() as folder:
        for what, options in plan['searches'] + (plan['torture'] if TORTURE else []):
            count, error = search(model, options, folder)
            states += count
            errors += error is not None
            print(f'  {what}: {count} states, {error or "no error"}', flush=True)
        for mutant in mutants:
            _, error = search(model, f'{plan["small_of"].get(mutant, plan["small"])} -DM_{mutant}', folder, '-O0')
            caught += error is not None
            print(f'  {mutant.lower()}: {"caught: " + error if error else "NOT CAUGHT"}', flush=True)
    print(f'{plan["id"]} model: {states} states, {errors} errors, {caught} of {len(mutants)} mutants caught')
    return 0 if errors == 0 and caught == len(mutants) else 1


sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
