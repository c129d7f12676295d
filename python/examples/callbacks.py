"""The four callbacks, and whose result is the result."""
import runium


def parse(text):
    return int(text)


def on_error(error):
    print('on_error:', error)
    return 0


def on_finished(success, error):
    print('on_finished:', success, error)


def each(success, error):
    print('on_iter:', success)


if __name__ == '__main__':
    # result() returns what the task returned, or the exception that it raised.
    print(runium.new_task(parse, {'text': '17'}).run().result())
    print(repr(runium.Runium(debug=False).new_task(parse, {'text': 'x'}).run().result()))

    # A callback replaces the result if it says so.
    task = runium.Runium(debug=False).new_task(parse, {'text': 'seventeen'})
    print(task.on_error(on_error, updates_result=True).on_finished(on_finished).run().result())

    # on_iter runs after every iteration, the others once at the end.
    runium.new_task(parse, {'text': '3'}).on_iter(each).run(times=3).result()
