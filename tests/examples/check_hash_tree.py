"""hash_tree agrees with sha256sum, says what it could not read, and refuses wrong arguments: HASH_TREE"""
import ctypes
import os
import pathlib
import pty
import resource
import shutil
import subprocess
import tempfile
import unittest

import program

HASH_TREE = program.program()
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
LIBC = ctypes.CDLL(None)


def obey_permissions():
    """Runs in the child: root too may then read only what the permissions of a file allow."""
    LIBC.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
    LIBC.prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0)


def use_one_cpu():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def hash_tree(*arguments, **options):
    return program.run(HASH_TREE, *arguments, **options)


def sha256sum(folder, **options):
    """The lines of sha256sum for every file below the folder, and what could not be read."""
    command = 'find -H "$1" -type f -print0 | xargs -0 -r sha256sum'
    return program.run('sh', '-c', command, 'sh', folder, **options)


def lines(text):
    return sorted(text.splitlines())


class HashTree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='hash_tree.')
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, content=b'content\n'):
        path = os.path.join(os.fsencode(self.folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as file:
            file.write(content)
        return path

    def make_tree(self):
        for number in range(200):
            self.write(b'many/%d' % number, b'%d' % number)
        self.write(b'empty', b'')
        self.write(b'exactly one chunk', bytes(64 * 1024))
        self.write(b'large', b'0123456789abcdef' * 70000)
        for name in (b'with space', b' ', b'two\nlines', b'back\\slash', b'both\\\n', b'return\r', b'-n', b'.hidden',
                     b'quote\'"', b'$(date)', b'\xff\xfe not UTF-8', b'\x1b[31mred', b'tab\t', b'*'):
            self.write(b'names/' + name)
            self.write(b'folders/' + name + b'/file')
        os.mkdir(self.folder + '/no files')
        os.mkfifo(self.folder + '/fifo')
        os.symlink('large', self.folder + '/link')
        os.symlink('nowhere', self.folder + '/broken link')
        os.symlink('many', self.folder + '/link to a folder')
        os.symlink('.', self.folder + '/link to itself')
        os.link(self.folder + '/large', self.folder + '/second name')

    def assert_agrees(self, folder, **options):
        ours, theirs = hash_tree('--list', folder, **options), sha256sum(folder, **options)
        self.assertEqual(lines(ours.stdout), lines(theirs.stdout))
        self.assertNotEqual(ours.stdout, '')
        return ours

    def on_a_terminal(self, *arguments, preexec=obey_permissions):
        """Runs hash_tree with a terminal as its stderr. What the terminal got, and the exit status."""
        ours, terminal = pty.openpty()
        process = subprocess.Popen([HASH_TREE, *arguments], stdout=subprocess.DEVNULL, stderr=terminal,
                                   preexec_fn=preexec)
        os.close(terminal)
        seen = b''
        try:
            while chunk := os.read(ours, 4096):
                seen += chunk
        except OSError:  # Linux says EIO when the other end is closed
            pass
        os.close(ours)
        return seen, process.wait()

    def test_the_list_equals_that_of_sha256sum(self):
        self.make_tree()
        done = self.assert_agrees(self.folder)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r'tasks failed  0\n')

    def test_the_folder_may_be_named_in_any_way(self):
        self.make_tree()
        parent = '../' + os.path.basename(self.folder)
        for name in ('.', './', './/', 'folders', 'folders/', parent, 'link to a folder'):
            with self.subTest(name=name):
                self.assert_agrees(name, cwd=self.folder)

    def test_a_file_that_may_not_be_read_fails_alone(self):
        self.make_tree()
        os.chmod(self.write(b'secret \x1b[31m'), 0)
        done = self.assert_agrees(self.folder, preexec_fn=obey_permissions)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'hash_tree: {self.folder}/secret ?[31m: Permission denied\n', done.stderr)
        self.assertRegex(done.stderr, r'tasks failed  1\n')

    def test_a_folder_that_may_not_be_read_is_told(self):
        self.make_tree()
        os.chmod(self.folder + '/many', 0)
        done = self.assert_agrees(self.folder, preexec_fn=obey_permissions)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'hash_tree: {self.folder}/many: Permission denied\n', done.stderr)
        self.assertRegex(done.stderr, r'tasks failed  0\n')
        self.assertRegex(done.stderr, r'not listed    1 folder\n')

    def test_a_path_that_is_too_long_to_open_fails_alone(self):
        """The folder's path is just short enough, those of its files are not."""
        self.make_tree()
        here = os.open(self.folder, os.O_RDONLY)
        length = len(self.folder)
        while length < 4000:
            name = 'd' * min(200, 4000 - length)
            os.mkdir(name, dir_fd=here)
            deeper = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here, length = deeper, length + 1 + len(name)
        os.close(os.open('f' * 200, os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(os.open('f', os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)
        done = self.assert_agrees(self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn('f: File name too long\n', done.stderr)
        self.assertRegex(done.stderr, r'tasks failed  1\n')

    def test_an_empty_folder_is_no_error(self):
        done = hash_tree('--rounds', '1', self.folder)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r'tasks run     0,')

    def test_one_thread_and_runium_give_the_same_hashes(self):
        self.make_tree()
        for rounds in ('1', '2', '3'):
            done = hash_tree('--rounds', rounds, self.folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r'one thread +[0-9.]+ s\n')
            self.assertRegex(done.stdout, r'Runium, \d+ workers? +[0-9.]+ s, [0-9.]+ times as fast\n')
            self.assertIn('the same hashes    yes', done.stdout)

    def test_the_totals_are_those_of_the_files(self):
        self.make_tree()
        files = [path for path in pathlib.Path(self.folder).rglob('*') if path.is_file() and not path.is_symlink()
                 and not any(parent.is_symlink() for parent in path.parents)]
        done = hash_tree('--rounds', '0', self.folder)
        self.assertRegex(done.stdout, rf'tasks run     {len(files)}, one per file\n')
        self.assertRegex(done.stdout, rf'bytes hashed  {sum(path.stat().st_size for path in files)} ')
        self.assertNotIn('one thread', done.stdout)

    def test_a_plain_progress_ends_at_all_files(self):
        self.make_tree()
        done = hash_tree('--rounds', '0', self.folder)
        progress = done.stderr.splitlines()
        self.assertRegex(progress[-1], r'^100 %  (\d+) of \1 files, 2\.\d MB$')
        self.assertLessEqual(len(progress), 11)
        self.assertNotIn('\r', done.stderr)

    def test_on_a_terminal_the_bar_is_redrawn_in_place_and_wiped(self):
        self.make_tree()
        os.chmod(self.write(b'secret \x1b[31m'), 0)
        seen, status = self.on_a_terminal('--rounds', '0', self.folder)
        self.assertEqual(status, 1)
        self.assertRegex(seen, rb'\r\[#{30}\] (\d+) of \1 files, 2\.\d MB\x1b\[K\r\x1b\[K$')
        self.assertIn(b'secret ?[31m: Permission denied\r\n', seen)
        self.assertNotIn(b'\x1b[31m', seen)

    def test_the_bar_is_drawn_while_every_worker_is_busy(self):
        """There is one worker, and no machine hashes half a gigabyte between two ticks of 100 ms."""
        os.truncate(self.write(b'large'), 512 << 20)
        seen, status = self.on_a_terminal('--rounds', '0', self.folder, preexec=use_one_cpu)
        self.assertEqual(status, 0)
        self.assertRegex(seen, rb'\r\[-{30}\] 0 of 1 files')

    def test_few_descriptors_are_enough_for_many_files(self):
        for number in range(1500):
            self.write(b'%d/%d' % (number % 30, number))
        few = 32
        done = hash_tree('--rounds', '1', self.folder,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (few, few)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r'tasks run     1500,')

    @unittest.skipIf(os.environ.get('SANITIZED') == 'yes', 'a sanitizer needs the address space for itself')
    def test_it_works_where_no_thread_can_start(self):
        """The stack that a thread would need is larger than the address space."""
        self.make_tree()
        size = 1 << 47
        done = self.assert_agrees(self.folder, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_STACK, (size, resource.RLIM_INFINITY)))
        self.assertEqual(done.returncode, 0)
        self.assertIn('no worker thread could be started', done.stderr)

    def test_output_that_cannot_be_written_is_an_error(self):
        self.make_tree()
        with open('/dev/full', 'w') as full:
            done = subprocess.run([HASH_TREE, '--list', self.folder], stdout=full, stderr=subprocess.PIPE, text=True,
                                  timeout=program.HANG_SECONDS)
        self.assertEqual(done.returncode, 1)
        self.assertIn('standard output: No space left on device', done.stderr)

    def test_a_wrong_argument_is_told(self):
        file = os.fsdecode(self.write(b'file'))
        for arguments, message in (
                ([self.folder + '/nowhere'], f'hash_tree: {self.folder}/nowhere: No such file or directory\n'),
                ([file], f'hash_tree: {file}: Not a directory\n'),
                ([''], 'hash_tree: : No such file or directory\n'),
                ([self.folder, self.folder], 'usage: hash_tree'),
                (['--fast'], 'usage: hash_tree'),
                (['--rounds'], 'usage: hash_tree'),
                (['--rounds', '-1', self.folder], 'usage: hash_tree'),
                (['--rounds', '100', self.folder], 'usage: hash_tree'),
                (['--rounds', '4294967297', self.folder], 'usage: hash_tree'),
                (['--rounds', '3x', self.folder], 'usage: hash_tree')):
            with self.subTest(arguments=arguments):
                done = hash_tree(*arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ''))
                self.assertTrue(done.stderr.startswith(message), done.stderr)


program.main()
