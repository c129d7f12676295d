"""Crash capsules and `runium replay`: RUNIUM CRASHER SOURCE LOADER PLUGIN"""
import glob
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import unittest

import program

RUNIUM, CRASHER, SOURCE, LOADER, PLUGIN = (program.program() for _ in range(5))
SIGNALS = {'segv': -11, 'abort': -6, 'exit': 3}
HOOKS = 'on_iter', 'on_success', 'on_error', 'on_finished'


def line_of_the_crash():
    with open(SOURCE) as source:
        return next(number for number, line in enumerate(source, 1) if 'the line of the crash' in line)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='capsules.')
        self.addCleanup(shutil.rmtree, self.folder)

    def crash(self, argument, times=1, **options):
        """Runs the task; returns the capsules that it left, in their order."""
        done = program.run(CRASHER, self.folder, argument, str(times), **options)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.log = done.stderr
        found = glob.glob(f'{self.folder}/*.capsule')
        return sorted(found, key=lambda name: int(re.search(r'-(\d+)\.capsule', name)[1]))

    def crash_once(self, argument, times=1, **options):
        capsules = self.crash(argument, times, **options)
        self.assertEqual(len(capsules), 1)
        return capsules[0]

    def replay(self, *words, **options):
        return program.run(RUNIUM, 'replay', *words, **options)

    def changed(self, capsule, old, new):
        """A copy in which the one place of `old` is `new`."""
        with open(capsule, 'rb') as file:
            content = file.read()
        self.assertEqual(content.count(old), 1)
        return self.written(content.replace(old, new))

    def written(self, content):
        with open(f'{self.folder}/changed', 'wb') as file:
            file.write(content)
        return file.name

    def with_argument(self, capsule, argument):
        with open(capsule, 'rb') as file:
            header = file.read().split(b'\n\n')[0]
        values = b'\4' + struct.pack('<I', len(argument)) + argument
        return self.written(re.sub(rb'values: \d+$', b'values: %d' % len(values), header) + b'\n\n' + values)

    def program_copy(self, capsule):
        """A capsule of a copy of the program, which may be spoiled."""
        copy = shutil.copy(CRASHER, f'{self.folder}/copy')
        return self.changed(capsule, b'\nprogram: ' + CRASHER.encode(), b'\nprogram: ' + copy.encode()), copy


class Replay(Case):
    def test_a_replay_ends_as_the_worker_process_did(self):
        for how, status in SIGNALS.items():
            with self.subTest(how):
                capsule = self.crash_once(f'function {how} 1')
                self.assertEqual(self.replay(capsule).returncode, status)
                os.remove(capsule)

    def test_a_crash_in_a_hook_is_replayed_in_that_hook_alone(self):
        for hook in HOOKS:
            with self.subTest(hook):
                wanted = f'{hook} segv 1' + (' fails' if hook == 'on_error' else '')
                capsule = self.crash_once(wanted)
                with open(capsule, 'rb') as file:
                    self.assertIn(f'\npart: {hook}\n'.encode(), file.read())
                self.assertEqual(self.replay(capsule).returncode, -11)
                os.remove(capsule)

    def test_the_iteration_that_crashed_is_replayed(self):
        capsule = self.crash_once('function segv 3', times=5)
        self.assertEqual(self.replay(capsule).returncode, -11)
        earlier = self.changed(capsule, b'\niteration: 3\n', b'\niteration: 2\n')
        done = self.replay(earlier)
        self.assertEqual((done.returncode, done.stdout.split(': ')[0]), (0, 'a/task, iteration 2'), done.stderr)

    def test_gdb_stops_on_the_line_that_crashed(self):
        if not shutil.which('gdb'):
            self.skipTest('no gdb')
        capsule = self.crash_once('on_iter segv 2', times=3)
        done = self.replay(capsule, '--gdb', '-batch', '-nx', '-ex', 'info line', '-ex', 'bt', cwd='/')
        if 'ptrace' in done.stderr:
            self.skipTest('nothing may be traced here')
        self.assertIn('SIGSEGV', done.stdout)
        self.assertRegex(done.stdout, rf'Line {line_of_the_crash()} of ".*crasher.c"', done.stderr)
        self.assertRegex(done.stdout, r'in on_iter \(')

    def test_gdb_finds_the_capsule_whatever_its_name(self):
        if not shutil.which('gdb'):
            self.skipTest('no gdb')
        capsule = self.crash_once('function segv 1')
        odd = f"{self.folder}/it's $(odd) \"name\" *"
        os.rename(capsule, odd)
        done = self.replay(odd, '--gdb', '-batch', '-nx', env={**os.environ, 'SHELL': '/bin/false'})
        self.assertTrue('SIGSEGV' in done.stdout or 'ptrace' in done.stderr, done.stdout + done.stderr)

    def test_with_an_argument_that_is_fine_it_succeeds(self):
        capsule = self.crash_once('function segv 1')
        done = self.replay(self.with_argument(capsule, b'something else'))
        self.assertEqual((done.returncode, done.stdout),
                         (0, 'a/task, iteration 1: function returned something else nothing\n'))

    def test_the_bytes_of_a_buffer_are_there_again(self):
        capsule = self.crash_once('buffer')
        self.assertEqual(self.replay(capsule).returncode, -11)
        done = self.replay(self.changed(capsule, b'segv\0', b'fine\0'))
        self.assertEqual((done.returncode, done.stdout), (0, 'read_buffer, iteration 1: function returned 1048576 bytes, fine\n'))

    def test_an_error_that_is_returned_is_status_1(self):
        capsule = self.crash_once('function segv 1')
        done = self.replay(self.with_argument(capsule, b'it fails'))
        self.assertEqual(done.returncode, 1)
        self.assertIn('as told', done.stdout)

    def test_environment_and_folder_are_those_of_the_worker(self):
        capsule = self.crash_once('function segv 1 asks', cwd='/usr', env={**os.environ, 'CRASHER': 'was\nset'})
        done = self.replay(capsule, cwd='/', input='input', env={'CRASHER': 'is other', 'LD_PRELOAD': ''})
        self.assertEqual(done.returncode, -11)
        self.assertEqual(done.stdout, 'asked: nowhere fine 1 was\nset; a/task, iteration 1, 0 remain, 0 missed, '
                                      'going on, in /usr, input -1, a runtime, 0 variables of ours\n')

    def test_runs_that_it_starts_run_in_the_replay(self):
        capsule = self.crash_once('function segv 1 asks')
        done = self.replay(self.with_argument(capsule, b'function fine 1 asks'))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('asked: nowhere fine 1 nothing; a/task', done.stdout)
        self.assertIn('function returned none', done.stdout)

    def test_a_limit_that_it_had_holds(self):
        capsule = self.crash_once('function segv 1')
        unlimited = self.with_argument(capsule, b'recurse 4000000')
        self.assertEqual(self.replay(unlimited).returncode, 0)
        limited = self.changed(unlimited, b'\nlimit-stack: 8388608\n', b'\nlimit-stack: 1000000\n')
        self.assertEqual(self.replay(limited).returncode, -11)


class Plugins(Case):
    def test_a_function_of_a_library_that_main_loads_is_found(self):
        """Nor is the program linked with Runium: both come with the plugin."""
        done = program.run(LOADER, PLUGIN, self.folder)
        self.assertEqual(done.returncode, 0, done.stdout)
        capsule, = glob.glob(f'{self.folder}/*.capsule')
        with open(capsule, 'rb') as file:
            self.assertIn(f'\nfile: {os.path.realpath(PLUGIN)}\n'.encode(), file.read())
        done = self.replay(capsule)
        self.assertEqual((done.returncode, done.stderr), (-11, ''))


class Builds(Case):
    def test_another_build_is_an_error(self):
        capsule, copy = self.program_copy(self.crash_once('function segv 1'))
        with open(capsule, 'rb') as file:
            content = file.read()
        wrong = self.written(re.sub(rb'\n(program|file)-id: ..', rb'\n\1-id: 00', content))
        done = self.replay(wrong)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'{copy} is another build than the program that crashed; --force', done.stderr)

    def test_by_force_the_function_is_found_by_its_name(self):
        capsule, _ = self.program_copy(self.crash_once('function segv 1'))
        with open(capsule, 'rb') as file:
            content = re.sub(rb'\n(program|file)-id: ..', rb'\n\1-id: 00', file.read())
        moved = self.written(re.sub(rb'\noffset: .*', b'\noffset: 0x0', content))
        self.assertEqual(self.replay(moved, '--force').returncode, -11)
        lost = self.written(re.sub(rb'\nsymbol: .*', b'\nsymbol: gone', content))
        done = self.replay('--force', lost)
        self.assertEqual(done.returncode, 1)
        self.assertIn("it has no function of the name 'gone'", done.stderr)

    def test_a_program_that_is_gone_is_127_and_one_that_may_not_run_is_126(self):
        capsule, copy = self.program_copy(self.crash_once('function segv 1'))
        os.chmod(copy, 0o600)
        done = self.replay(capsule)
        self.assertEqual((done.returncode, 'Permission denied' in done.stderr), (126, True), done.stderr)
        os.remove(copy)
        done = self.replay(capsule)
        self.assertEqual((done.returncode, copy in done.stderr), (127, True), done.stderr)

    def test_a_folder_that_is_gone_is_named(self):
        gone = tempfile.mkdtemp()
        capsule = self.crash_once('function segv 1', cwd=gone)
        os.rmdir(gone)
        done = self.replay(capsule)
        self.assertEqual((done.returncode, gone in done.stderr), (127, True), done.stderr)


class Capsules(Case):
    def test_without_a_crash_there_is_no_capsule(self):
        self.assertEqual(self.crash('function fine 1 fails', times=3), [])
        self.assertEqual(os.listdir(self.folder), [])

    def test_without_a_folder_there_is_no_capsule(self):
        done = program.run(CRASHER, '', 'function segv 1', cwd=self.folder)
        self.assertIn('SIGSEGV', done.stdout)
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_capsule_is_for_its_user_alone_and_the_log_says_where_it_is(self):
        capsule = self.crash_once('function segv 1')
        self.assertEqual(stat.S_IMODE(os.stat(capsule).st_mode), 0o600)
        self.assertEqual(os.listdir(self.folder), [os.path.basename(capsule)])
        self.assertRegex(os.path.basename(capsule), r'^a_task-\d{8}T\d{6}Z-\d+-\d+\.capsule$')
        self.assertIn(f"'runium replay {capsule}' runs that again", self.log)

    def test_each_crash_leaves_one_up_to_a_hundred(self):
        capsules = self.crash('on_iter segv 1')
        self.assertEqual(len(capsules), 1)
        done = program.run(CRASHER, self.folder, 'always', '103')
        self.assertEqual(len(os.listdir(self.folder)), 101)
        self.assertEqual(done.stderr.count('this runtime writes no more'), 1)

    def test_of_many_runs_that_one_leaves_a_capsule_that_crashed(self):
        capsule = self.crash_once('many')  # 200 runs, and one of them crashes
        with open(capsule, 'rb') as file:
            self.assertIn(b'\nargument: function segv 1\n', file.read())
        self.assertEqual(self.replay(capsule).returncode, -11)

    def test_who_only_waited_for_the_run_that_crashed_leaves_none(self):
        capsule = self.crash_once('function segv 1 inlines')
        with open(capsule, 'rb') as file:
            self.assertIn(b'\ntask: work\n', file.read())
        self.assertEqual(self.replay(capsule).returncode, -11)

    def test_a_folder_that_is_none_keeps_the_runtime_from_opening(self):
        with open(f'{self.folder}/file', 'w'):
            pass
        for odd in f'{self.folder}/none', f'{self.folder}/file', '/proc':
            done = program.run(CRASHER, odd, 'function fine 1')
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout,
                             f'^RN_INVALID: .capsules is "{odd}": .*; accepted is a folder.*\nand no more$')

    def test_a_folder_that_goes_away_hurts_nothing(self):
        gone = tempfile.mkdtemp()
        done = program.run(CRASHER, gone, f'removes {gone}')
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('SIGSEGV', done.stdout)
        self.assertIn(f'no capsule could be left in {gone}: No such file', done.stderr)


class Words(Case):
    def test_what_is_not_understood_is_status_2_and_shows_the_usage(self):
        for words in [], ['play'], ['replay'], ['replay', '--fast', 'x'], ['replay', 'a', 'b'], ['--replay']:
            done = program.run(RUNIUM, *words)
            self.assertEqual((done.returncode, done.stdout), (2, ''))
            self.assertIn('usage: runium', done.stderr)

    def test_an_answer_that_cannot_be_written_is_a_failure(self):
        with open('/dev/full', 'w') as full:
            done = subprocess.run([RUNIUM, '--version'], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stderr), (1, 'runium: stdout: No space left on device\n'))

    def test_help_and_version_are_answered(self):
        for words in ['--help'], ['--version'], ['replay', '--help']:
            done = program.run(RUNIUM, *words)
            self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('--gdb', program.run(RUNIUM, '--help').stdout)

    def test_a_file_that_is_no_capsule_is_status_1_and_says_why(self):
        for content, why in (b'', "the first line is not 'runium capsule 1'"), \
                (b'runium capsule 1\n', 'no empty line'), \
                (b'runium capsule 1\n\n', "line 2 is not 'task: ...'"):
            done = self.replay(self.written(content))
            self.assertEqual((done.returncode, done.stdout), (1, ''))
            self.assertIn(f'{self.folder}/changed is no crash capsule: {why}', done.stderr)
        for name, why in ('none', 'No such file'), ('.', 'Is a directory'):
            done = self.replay(f'{self.folder}/{name}')
            self.assertEqual((done.returncode, why in done.stderr), (1, True), done.stderr)

    def test_without_gdb_the_status_is_127(self):
        capsule = self.crash_once('function segv 1')
        done = self.replay(capsule, '--gdb', '-batch', env={'PATH': self.folder})
        self.assertEqual((done.returncode, 'gdb cannot be started' in done.stderr), (127, True), done.stderr)


program.main()
