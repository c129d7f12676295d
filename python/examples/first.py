"""What `make python` ends with: how to use what it built, and the first lines at work."""
import pathlib
import sys

import runium


def send_email():
    print('Sending email...')
    return 'Email sent.'


def callback(success, error):
    return f'The callback got {success!r} and {error!r}.'


if __name__ == '__main__':
    environment = pathlib.Path(sys.prefix)
    print(f'The package is installed in {environment}. To use it there:\n\n    . {environment}/bin/activate\n\n'
          f'Or install its wheel elsewhere: pip install {" ".join(map(str, environment.parent.glob("*.whl")))}\n')
    print('runium.new_task(send_email).on_finished(callback, updates_result=True).run().result()')
    print(runium.new_task(send_email).on_finished(callback, updates_result=True).run().result())
