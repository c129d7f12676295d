"""Constructs that the library does without, and markers that must say why."""
import re

from checks import files, run, seed, without_comments

ENDS, CHANGES = 'ends the program of somebody else', 'changes the state of the whole process'
BANNED = {
    r'\b(strcpy|strcat|stpcpy|sprintf|vsprintf|gets|strtok|mktemp|tmpnam)\s*\(': 'writes without a bound',
    r'\b(system|popen|exec[lv]p)\s*\(': 'starts a shell or searches the path',
    r'\balloca\s*\(': 'takes unbounded stack',
    r'\b(atomic_thread_fence|atomic_signal_fence|__atomic_thread_fence|__sync_\w+)\s*\(':
        'a stand-alone fence, which ThreadSanitizer cannot see',
    r'\b(exit|_exit|quick_exit)\s*\(': ENDS,
    r'\b(signal|sigaction|setlocale|setenv|putenv|umask|chdir)\s*\(': CHANGES,
    r'\b(atomic_(load|store|exchange|fetch_\w+|compare_exchange_\w+?)(_explicit)?)\s*\(': 'goes around base/atomic.h',
}
EXCEPTIONS = {
    'src/base/atomic.h': ['goes around base/atomic.h'],
    'src/base/os_linux_process.c': [ENDS, CHANGES],  # the zygote's process, and the workers' before they are theirs
    'src/base/os_linux_crash.c': [ENDS, CHANGES],    # a worker process that dies
    'src/base/os_linux_capsule.c': [CHANGES],        # before exec: what becomes another program
    'src/process/replay.c': [ENDS],                  # a replay has no main() to go back to
    'src/process/worker.c': [ENDS],                  # a worker process is ours to end
    'src/process/worker_batch.c': [ENDS],
}
MARKER = re.compile(r'(LCOV_EXCL\w*)(.*)')


def problems_of_words(root):
    for path in files(root, ['src']):
        name = str(path.relative_to(root))
        for number, line in enumerate(without_comments(path.read_text()).splitlines(), 1):
            for pattern, why in BANNED.items():
                match = re.search(pattern, line)
                if match and why not in EXCEPTIONS.get(name, []):
                    yield f'{name}:{number}: {match[1]}() {why}'


def problems_of_text(root):
    for path in files(root, ['src', 'include', 'tests', 'examples', 'bench', 'cli', 'python'], ('.c', '.h', '.cc', '.py')):
        name = path.relative_to(root)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.isascii():
                yield f'{name}:{number}: is not ASCII'
            if re.search(r'\b(TO' r'DO|FIX' r'ME|XX' r'X)\b', line):
                yield f'{name}:{number}: unfinished; an issue is the place for it'


def problems_of_markers(root):
    """Code that the coverage leaves out says why: LCOV_EXCL_BR_LINE: the reason."""
    for path in files(root, ['src']):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = MARKER.search(line)
            if match and 'STOP' not in match[1] and not re.match(r':\s*\w+\W+\w+', match[2]):
                yield f'{path.relative_to(root)}:{number}: {match[1]} without a reason'


def problems(root):
    return [*problems_of_words(root), *problems_of_text(root), *problems_of_markers(root)]


def canary(line):
    return lambda copy: [p for p in problems(seed(copy, 'src/base/seeded.c', line + '\n')) if 'seeded' in p]


run('the library has no banned construct', problems, {
    'a copy without a bound': canary('strcpy(to, from);'),
    'a shell': canary('system("ls");'),
    'a stand-alone fence': canary('atomic_thread_fence(memory_order_seq_cst);'),
    'an atomic operation of its own': canary('atomic_load_explicit(&word, memory_order_relaxed);'),
    'a change of the process': canary('signal(SIGPIPE, SIG_IGN);'),
    'what is not finished': canary('/* TO' 'DO: more */'),
    'a coverage marker without a reason': canary('if (x) /* LCOV_EXCL_BR_LINE */'),
    'text that is not ASCII': canary('/* \u00e9 */'),
})
