"""An example prints what its golden file says, but for thread ids, places in files and what was used: EXAMPLE GOLDEN [--write]"""
import difflib
import pathlib
import re
import sys

from program import run


def normalised(text):
    text = re.sub(r'\bthread [0-9]+', 'thread N', text)
    text = re.sub(r'\+0x[0-9a-f]+', '+0xN', text)
    text = re.sub(r'peak memory [0-9]+ KiB, CPU time [0-9]+ ms', 'peak memory N KiB, CPU time N ms', text)
    return re.sub(r'(?:\S*/)?(\w+\.c):[0-9]+', r'\1:LINE', text)


def main(example, golden, *write):
    done = run(example)
    printed = normalised(done.stdout)
    if write:
        pathlib.Path(golden).write_text(printed)
    difference = ''.join(difflib.unified_diff(pathlib.Path(golden).read_text().splitlines(True),
                                              printed.splitlines(True), golden, example))
    print(difference or done.stdout, end='')
    print(done.stderr, end='')
    print('exit status', done.returncode)
    return 1 if difference or done.returncode != 0 else 0


sys.exit(main(*sys.argv[1:]))
