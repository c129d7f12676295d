"""Once, often, later."""
import threading

import runium


def tick(runium):
    print('tick', runium['iterations'], 'and', runium['iterations_remaining'], 'to come')


def remind(text):
    print(text)


def endless():
    began.set()
    return 'stopped'


began = threading.Event()

if __name__ == '__main__':
    runium.new_task(tick).run(every='10 ms', times=3).result()
    runium.new_task(remind, {'text': 'Tea is ready.'}).run(start_in=0.02).result()
    runium.new_task(remind, {'text': 'Happy new year.'}).run(at='2000-01-01 00:00').result()

    future = runium.new_task(endless).run(every='1 ms')
    began.wait()
    print('pending:', [task.name for task in runium.pending_tasks().values()])
    future.stop()
    print(future.result())
