"""What the checks share: each looks for violations in the tree, and proves on a copy that it would find one.

A check calls run() with a function that lists the problems of a tree, and with its canaries: functions that
seed a violation in a copy of the tree and return what the check says about it. The outcome is TAP.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

BUILT = shutil.ignore_patterns('.git', 'build', 'build-*', '__pycache__')


def run(claim, problems, canaries):
    root = pathlib.Path(sys.argv[1])
    print(f'1..{1 + len(canaries)}')
    verdict(1, claim, problems(root))
    for number, (violation, canary) in enumerate(canaries.items(), 2):
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(shutil.copytree(root, folder + '/copy', ignore=BUILT, symlinks=True))
            found = canary(copy)
        verdict(number, f'catches {violation}', [] if found else ['the canary was not caught'])


def verdict(number, claim, found):
    print('not ok' if found else 'ok', number, '-', claim)
    for problem in found:
        for line in str(problem).splitlines():
            print('#', line)


def note(text):
    print('#', text)


def seed(root, path, text):
    """Adds text to the end of a file of the copy, which is made if it is not there."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('a') as out:
        out.write(text)
    return root


def files(root, folders, suffixes=('.c', '.h')):
    return sorted(path for folder in folders for path in (root / folder).rglob('*') if path.suffix in suffixes)


def without_comments(text):
    """C source with its comments and string literals blanked, each line where it was."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    blank = lambda match: '""' if match[0][0] == '"' else '\n' * match[0].count('\n') or ' '
    return re.sub(pattern, blank, text, flags=re.S)


def output(command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def complaint(command, **options):
    """Runs a command; what it said if it failed, else nothing."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return [] if done.returncode == 0 else [f'{" ".join(map(str, command))}\n{done.stderr}{done.stdout}']


def exported_by_header(root):
    """The functions that the public headers declare."""
    text = ''.join((root / 'include' / name).read_text() for name in ('runium.h', 'runium/testing.h'))
    return set(re.findall(r'^RN_API[^;]*?\b(\w+)\(', without_comments(text), re.M))
