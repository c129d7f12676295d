"""The library's sources also compile for 32 bits, for 64-bit ARM and with another libc, without a warning."""
import shutil

from checks import complaint, files, note, run, seed

WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Wshadow', '-Wvla', '-Wformat=2', '-Werror']
KERNEL_HEADERS = ['-idirafter', '/usr/include', '-idirafter', '/usr/include/x86_64-linux-gnu']
TARGETS = {
    'gcc, C17': ['gcc', '-std=c17'],
    'gcc, C23': ['gcc', '-std=c2x'],
    'clang, C23': ['clang', '-std=c2x'],
    '32 bits': ['gcc', '-std=c11', '-m32', '-Wno-psabi'],
    'musl': ['musl-gcc', '-std=c11', *KERNEL_HEADERS],
    'ARM': ['aarch64-linux-gnu-gcc', '-std=c11'],
}


def available(command):
    return shutil.which(command[0]) and not complaint(
        [*command, '-fsyntax-only', '-include', 'stdlib.h', '-xc', '/dev/null'])


def problems_of_target(root, command):
    sources = map(str, files(root, ['src'], ('.c',)))
    return complaint([*command, *WARNINGS, '-D_GNU_SOURCE', f'-I{root}/include', f'-I{root}/src',
                      '-fsyntax-only', *sources])


def problems(root):
    for target, command in TARGETS.items():
        if available(command):
            yield from problems_of_target(root, command)
        else:
            note(f'{target}: left out, this machine has no {command[0]} for it')


def canary(target, text):
    return lambda copy: problems_of_target(seed(copy, 'src/base/seeded.c', text), TARGETS[target])


run('the library compiles for every target', lambda root: list(problems(root)), {
    'a pointer that is taken for 64 bits': canary(
        '32 bits', '#include <stdint.h>\n_Static_assert(sizeof(void *) == sizeof(uint64_t), "wide");\n'),
    'an array of variable length': canary(
        'gcc, C17', 'int sum(int n);\nint sum(int n) { int all[n]; all[0] = n; return all[0]; }\n'),
    'a conversion that loses bits': canary(
        'gcc, C23', 'int narrow(long wide);\nint narrow(long wide) { return wide; }\n'),
})
