"""Worker processes: a crash is the outcome of one task."""
import ctypes
import logging

import runium
from runium.core import Runium


def square(number):
    return number * number


def risky(number):
    if number == 3:
        ctypes.string_at(0)  # reads from address 0
    return number


if __name__ == '__main__':
    logging.getLogger('runium').setLevel(logging.CRITICAL)  # or each failed iteration is logged
    with Runium(mode='multiprocessing', max_workers=2, debug=False) as processes:
        print(processes.new_task(square, {'number': 12}).run().result())

        futures = [processes.new_task(risky, {'number': number}).run() for number in range(5)]
        for future in futures:
            outcome = future.result()
            if isinstance(outcome, runium.WorkerCrashed):
                print('crashed by signal', outcome.signal)
            else:
                print(outcome)
