"""What the tests of the examples share: how a program is run, and TAP as the outcome of unittest."""
import os
import subprocess
import sys
import unittest

HANG_SECONDS = 100


def program():
    """The next argument, a program or a folder, which unittest must not see."""
    return os.path.abspath(sys.argv.pop(1))


def run(*command, **options):
    """Runs a command. Text in and out is bytes that are no UTF-8 too; a hang is an error."""
    return subprocess.run(command, capture_output=True, text=True, errors='surrogateescape',
                          timeout=HANG_SECONDS, **options)


def sentence(test):
    return test.id().rsplit('.', 1)[1].removeprefix('test_').replace('_', ' ')


class Tap(unittest.TestResult):
    """Prints a line for each test, and below it why it failed."""

    def tell(self, verdict, test, remark=''):
        print(verdict, self.testsRun, '-', sentence(test), remark)

    def tell_failures(self, test, failures):
        self.tell('not ok', test)
        for _, trace in failures:
            for line in trace.splitlines():
                print('#', line.encode('ascii', 'backslashreplace').decode())

    def stopTest(self, test):
        """A test may have failed several times, in its subtests."""
        super().stopTest(test)
        mine = [failure for failure in self.failures + self.errors
                if getattr(failure[0], 'test_case', failure[0]) is test]
        skipped = [reason for skipped_test, reason in self.skipped if skipped_test is test]
        if mine:
            self.tell_failures(test, mine)
        else:
            self.tell('ok', test, f'# SKIP {skipped[0]}' if skipped else '')
        sys.stdout.flush()


def skip_all(reason):
    print('1..0 # SKIP', reason)
    sys.exit(0)


def main():
    tests = unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__'])
    print(f'1..{tests.countTestCases()}')
    tests.run(Tap())
