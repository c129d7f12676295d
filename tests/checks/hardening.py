"""The shared library is built as hardened as the tools allow, and needs nothing but the C library."""
import sys

from checks import complaint, output, run
from elf import weaknesses

LIBRARY = sys.argv[2]
ARCHIVE = LIBRARY.rsplit('.so', 1)[0] + '.a'


def problems_of_objects(archive):
    """Each object marks its indirect branches; Debian's own start files lack the mark, so the library hides it."""
    objects = output(['readelf', '-hnW', archive]).split('\nFile: ')[1:]
    return [f'{entry.splitlines()[0]}: missing: indirect branches marked' for entry in objects
            if 'X86-64' in entry and 'IBT, SHSTK' not in entry]


def unmarked_object(copy):
    source = copy / 'weak.c'
    source.write_text('int weak(void);\nint weak(void) { return 0; }\n')
    assert not complaint(['gcc', '-c', '-fcf-protection=none', '-o', copy / 'weak.o', source])
    assert not complaint(['ar', 'rcs', copy / 'weak.a', copy / 'weak.o'])
    return problems_of_objects(copy / 'weak.a')


def canary(flags, claim):
    def build(copy):
        source, library = copy / 'weak.c', copy / 'weak.so'
        source.write_text('#include <string.h>\n#include <unistd.h>\nint weak(int n);\n'
                          'int weak(int n) { char a[64]; return (int)read(0, a, (size_t)n) + a[0]; }\n')
        assert not complaint(['gcc', '-shared', '-fPIC', '-O2', *flags, '-o', library, source])
        return [p for p in weaknesses(library) if p.endswith(claim)]
    return build


run('the library is hardened', lambda root: weaknesses(LIBRARY) + problems_of_objects(ARCHIVE), {
    'an object without marked branches': unmarked_object,
    'a library without RELRO': canary(['-Wl,-z,norelro'], 'RELRO'),
    'late binding': canary(['-Wl,-z,lazy'], 'all symbols bound at start'),
    'an executable stack': canary(['-Wl,-z,execstack'], 'no executable stack'),
    'a library that can be unmapped': canary([], 'never unmapped'),
    'code beside data': canary(['-Wl,-z,noseparate-code'], 'code in pages of its own'),
    'a missing stack protector': canary(['-fno-stack-protector'], 'stack protector'),
    'a missing FORTIFY': canary(['-U_FORTIFY_SOURCE'], 'FORTIFY'),
    'a path to libraries': canary(['-Wl,-rpath,/tmp'], 'no RPATH'),
    'one library more': canary(['-Wl,--no-as-needed', '-lm'], 'only the C library needed'),
})
