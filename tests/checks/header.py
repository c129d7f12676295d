"""The public headers compile everywhere: C11 to C23 and C++11 to C++20, gcc and clang, without a warning."""
import re
import sys
import tempfile

from checks import complaint, run, without_comments

LIBRARY = sys.argv[2]
WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Wshadow', '-Wformat=2', '-Wundef', '-Wcast-align',
            '-Werror']
DIALECTS = {
    'header_use.c': [(compiler, std) for compiler in ('gcc', 'clang') for std in ('c11', 'c17', 'c2x')],
    'header_use.cc': [(compiler, std) for compiler in ('g++', 'clang++')
                      for std in ('c++11', 'c++14', 'c++17', 'c++20')],
}
RUNS = [('gcc', 'c11', 'header_use.c'), ('g++', 'c++20', 'header_use.cc'), ('clang++', 'c++11', 'header_use.cc')]


def compile_command(root, compiler, std, source):
    return [compiler, f'-std={std}', *WARNINGS, f'-I{root}/include', str(root / 'tests/checks' / source)]


def problems_of_dialects(root):
    for source, dialects in DIALECTS.items():
        for compiler, std in dialects:
            yield from complaint([*compile_command(root, compiler, std, source), '-fsyntax-only'])


def problems_of_use(root):
    """Every macro of the header is used by the program that is compiled."""
    header = without_comments((root / 'include/runium.h').read_text())
    used = (root / 'tests/checks/header_use.c').read_text()
    internal = {'RN_API', 'RN_PRINTF', 'RN_MUST_USE'}
    for macro in sorted(set(re.findall(r'^#define (rn_\w+|RN_\w+)', header, re.M)) - internal):
        if not re.search(rf'\b{macro}\b', used):
            yield f'{macro}: not used in tests/checks/header_use.c'


def problems_of_run(root):
    """It also links and does what it says, in C and in both kinds of C++."""
    for compiler, std, source in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            program = folder + '/program'
            yield from (complaint([*compile_command(root, compiler, std, source), '-o', program, LIBRARY,
                                   f'-Wl,-rpath,{LIBRARY.rsplit("/", 1)[0]}'])
                        or complaint(['timeout', '60', program]))


def problems_of_text(root):
    return [*problems_of_dialects(root), *problems_of_use(root)]


def problems(root):
    return [*problems_of_text(root), *problems_of_run(root)]


def a_program_that_fails(copy):
    """The program of a copy whose greeting is wrong."""
    use = copy / 'tests/checks/header_use.c'
    use.write_text(use.read_text().replace('"Hello Bob"', '"Hello Eve"'))
    return [*problems_of_run(copy)]


def with_header(text):
    def canary(copy):
        header = copy / 'include/runium.h'
        header.write_text(header.read_text() + text)
        return problems_of_text(copy)
    return canary


run('the header compiles without a warning in every dialect', problems, {
    'a conversion that loses bits': with_header('static inline int lossy(int64_t wide) { return wide; }\n'),
    'a declaration that is not C++': with_header('int unfit(int class);\n'),
    'a program that gets a wrong answer': a_program_that_fails,
    'a macro that nobody compiles': with_header('#define rn_unused(x) (x)\n'),
})
