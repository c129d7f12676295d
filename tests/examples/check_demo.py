"""The demo runs the five examples, hash_tree, which agrees with sha256sum, and tasks that crash: DEMO BUILD_FOLDER"""
import os
import re
import shutil
import sys
import tempfile
import unittest

import program

DEMO, BUILD = program.program(), program.program()
TITLES = ('on_finished', 'on_success', 'on_error', 'on_iter, .times = 3', 'add_done_callback')


class Demo(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='demo.')
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for number in range(20):
            with open(f'{self.folder}/{number}', 'w') as file:
                file.write(str(number))

    def test_it_shows_the_five_examples_and_a_real_job(self):
        done = program.run(DEMO, BUILD, self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        for title in TITLES:
            self.assertIn(f'\n{title}\n', done.stdout)
        self.assertIn('tasks run     20, one per file', done.stdout)
        self.assertIn('the same 20 lines', done.stdout)

    def test_it_shows_tasks_that_crash_and_crash_again(self):
        done = program.run(DEMO, BUILD, self.folder)
        self.assertIn('995 results, 5 crashes, and this program goes on.', done.stdout)
        if shutil.which('gdb') and 'ptrace' not in done.stdout:
            stopped = re.search(r'SIGSEGV.*\n.*divide_or_crash .* at (.*crash_proof.c):(\d+)\n', done.stdout)
            with open(os.path.join(os.path.dirname(DEMO), '../examples/crash_proof.c')) as source:
                self.assertIn('*(volatile int *)', source.readlines()[int(stopped[2]) - 1])
        self.assertIn('5 capsules; the replay ended with status', done.stdout)

    def test_a_hash_that_differs_is_an_error(self):
        """The canary: an sha256sum that finds another hash for one of the files."""
        with tempfile.TemporaryDirectory() as tools:
            with open(f'{tools}/sha256sum', 'w') as liar:
                liar.write('#!/bin/sh\n/usr/bin/sha256sum "$@" | sed "1s/^./x/"\n')
            os.chmod(liar.name, 0o755)
            done = program.run(DEMO, BUILD, self.folder, env={**os.environ, 'PATH': f'{tools}:{os.environ["PATH"]}'})
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn('the same', done.stdout.split('Is it right?')[1])


program.main()
