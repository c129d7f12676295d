"""The header, the version script and the library export the same functions, and nothing else."""
import re
import sys

from checks import complaint, exported_by_header, output, run

LIBRARY = sys.argv[2]


def exported_by_library(library):
    lines = output(['nm', '-D', '--defined-only', library]).splitlines()
    symbols = (line.split() for line in lines)
    return {name.split('@')[0] for _, kind, name in symbols if kind != 'A'}


def exported_by_map(root):
    return set(re.findall(r'^\s*(\w+);', (root / 'src/runium.map').read_text(), re.M))


def problems_of(root, library):
    header, listed, exported = exported_by_header(root), exported_by_map(root), exported_by_library(library)
    return [*(f'{name}: in the header, not in src/runium.map' for name in sorted(header - listed)),
            *(f'{name}: in src/runium.map, not in the header' for name in sorted(listed - header)),
            *(f'{name}: in the header, not in the library' for name in sorted(header - exported)),
            *(f'{name}: exported, but in no public header' for name in sorted(exported - header)),
            *(f'{name}: not named rn_ or rni_' for name in sorted(exported) if not re.match(r'rni?_', name))]


def with_a_stray_symbol(copy):
    source, library = copy / 'stray.c', copy / 'stray.so'
    source.write_text('int stray(void);\nint stray(void) { return 0; }\n')
    assert not complaint(['cc', '-shared', '-fPIC', '-o', library, source])
    return [p for p in problems_of(copy, library) if p.startswith('stray')]


def with_a_function_that_is_missing(copy):
    header = copy / 'include/runium.h'
    header.write_text(header.read_text() + 'RN_API int rn_promised(void);\n')
    return [p for p in problems_of(copy, LIBRARY) if p.startswith('rn_promised')]


run('header, map and library name the same symbols', lambda root: problems_of(root, LIBRARY), {
    'a symbol that leaks': with_a_stray_symbol,
    'a function that the library lacks': with_a_function_that_is_missing,
})
