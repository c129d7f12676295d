"""What type checkers are told is complete, and true."""
import pathlib
import re
import subprocess
import sys

import pytest

import runium

pytestmark = pytest.mark.once
SAMPLE = pathlib.Path(__file__).with_name('typing_sample.py')
REVEALED = [
    'builtins.int',
    'builtins.str',
    'None',
    'builtins.list[builtins.float]',
    'def (every: .*) -> runium._future.Future[builtins.int]',
    'runium._core.Task[builtins.int]',
    'builtins.str',
    'builtins.bool',
]


def checked(folder, *arguments):
    pytest.importorskip('mypy')
    command = [sys.executable, '-m', *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_a_strict_type_checker_accepts_a_program_that_uses_everything(tmp_path):
    done = checked(tmp_path, 'mypy', '--strict', SAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(revealed) == len(REVEALED), done.stdout
    for found, expected in zip(revealed, REVEALED):
        assert re.fullmatch(re.escape(expected).replace(r'\.\*', '.*'), found)


def test_a_strict_type_checker_refuses_a_wrong_use(tmp_path):
    wrong = tmp_path / 'wrong.py'
    wrong.write_text('import runium\n'
                     'text: str = runium.new_task(len, {"obj": ""}).run().result()\n'
                     'runium.Runium(mode="threads")\n'
                     'runium.new_task(len).run(evry=1)\n'
                     'runium.new_task(len).on_success(str.upper)\n')
    done = checked(tmp_path, 'mypy', '--strict', wrong)
    assert re.findall(r'wrong.py:(\d): error', done.stdout) == ['2', '3', '4', '5'], done.stdout + done.stderr


def test_the_stubs_say_what_the_modules_have(tmp_path):
    done = checked(tmp_path, 'mypy.stubtest', 'runium', '--ignore-missing-stub')
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_public_name_has_a_documentation():
    for name in runium.__all__:
        assert getattr(runium, name).__doc__, name
    for kind in (runium.Task, runium.Call, runium.Future, runium.Runium):
        for name in dir(kind):
            if not name.startswith('_'):
                assert getattr(kind, name).__doc__, f'{kind.__name__}.{name}'
