"""The wheel holds the package and nothing else, exports one function, is hardened, and says truly what it is."""
import email
import pathlib
import re
import sys
import tempfile
import zipfile

from checks import complaint, output, run
from elf import LIBC, weaknesses

WHEEL = pathlib.Path(sys.argv[2])
INTERPRETER = sys.argv[3] if len(sys.argv) > 3 else '/usr/bin/python3'
WEAK = {'_ITM_deregisterTMCloneTable', '_ITM_registerTMCloneTable', '__gmon_start__'}  # of gcc's start files
UNWINDER = re.compile('_Unwind_')        # of libgcc, weak: loaded where it can be found
NEVER = re.compile('__asan_|__tsan_')    # a wheel of a build for tests

MOST_TLS_BYTES = 256                     # of about 1,600 that the loader keeps for all


def symbols(library, which):
    """(name with its version, kind) of the dynamic symbols."""
    lines = output(['nm', '-D', which, library]).splitlines()
    return [(line.split()[-1], line.split()[-2]) for line in lines]


def problems_of_symbols(extension):
    exported = {name for name, kind in symbols(extension, '--defined-only')}
    if exported != {'PyInit__core'}:
        yield f'exports {", ".join(sorted(exported)) or "nothing"}, not PyInit__core alone'
    known = {name for name, kind in symbols(INTERPRETER, '--defined-only') if re.match('_?Py', name)}
    for name, kind in symbols(extension, '--undefined-only'):
        weak = kind in 'wv' and (name in WEAK or UNWINDER.match(name))
        if NEVER.match(name) or not ('@GLIBC_' in name or name in known or weak):
            yield f'{name}: neither libc has it nor {INTERPRETER}'


def problems_of_tls(extension):
    """Variables of threads are addressed as those of the program are; the loader keeps little room for such of a module."""
    found = re.search(r'^\s+TLS\s+(?:0x\w+ ){4}(0x\w+)', output(['readelf', '-lW', extension]), re.M)
    taken = int(found[1], 16) if found else 0
    if taken > MOST_TLS_BYTES:
        yield f'{taken} bytes of variables of threads: more than {MOST_TLS_BYTES}, other modules may not load then'


def expected_files(root, version):
    modules = {f'runium/{path.name}' for path in (root / 'python/runium').iterdir()
               if path.suffix in ('.py', '.pyi') or path.name == 'py.typed'}
    return modules | {f'runium-{version}.dist-info/{name}' for name in ('METADATA', 'WHEEL', 'LICENSE', 'RECORD')}


def problems_of_files(root, version, names):
    expected = expected_files(root, version)
    yield from (f'{name}: in python/runium, not in the wheel: see python/meson.build' for name in sorted(expected - names))
    yield from (f'{name}: in the wheel, but no part of the package' for name in sorted(names - expected))


def problems_of_metadata(root, version, metadata):
    wanted = {
        'Name': 'runium',
        'Version': version,
        'License': 'MIT License',
        'Requires-Python': '>=3.11',
    }
    for field, value in wanted.items():
        found = (metadata[field] or 'nothing').strip().splitlines()[0]
        if found != value:
            yield f'{field} is {found}, not {value}'
    if metadata.get_all('Requires-Dist') != ['cloudpickle; extra == "cloudpickle"']:
        yield f'requires {metadata.get_all("Requires-Dist")}'


def problems_of(root, wheel):
    version = re.search(r"version: '([\d.]+)'", (root / 'meson.build').read_text())[1]
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        extensions = [name for name in names if name.endswith('.so')]
        metadata = [name for name in names if name.endswith('.dist-info/METADATA')]
        if len(extensions) != 1 or len(metadata) != 1:
            return [f'{wheel.name}: holds {len(extensions)} extension modules and {len(metadata)} metadata files']
        archive.extractall(folder)
        extension = pathlib.Path(folder, extensions[0])
        said = email.message_from_bytes(archive.read(metadata[0]))
        return [*problems_of_files(root, version, names - set(extensions)), *problems_of_metadata(root, version, said),
                *weaknesses(extension, LIBC | {'libm.so.6'}), *problems_of_symbols(extension), *problems_of_tls(extension)]


def altered(copy, change):
    """The wheel once more, with each member changed by a function: (name, bytes) to bytes, or None to leave it out."""
    with zipfile.ZipFile(WHEEL) as old, zipfile.ZipFile(copy / WHEEL.name, 'w') as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return problems_of(copy, copy / WHEEL.name)


def with_one_file_more(copy):
    (copy / WHEEL.name).write_bytes(WHEEL.read_bytes())
    with zipfile.ZipFile(copy / WHEEL.name, 'a') as archive:
        archive.writestr('runium-0.data/headers/runium.h', '')
    return [p for p in problems_of(copy, copy / WHEEL.name) if p.endswith('no part of the package')]


def without_a_module(copy):
    return [p for p in altered(copy, lambda name, data: None if name.endswith('errors.py') else data) if 'errors.py' in p]


def with_another_version(copy):
    change = lambda name, data: data.replace(b'\nVersion: ', b'\nVersion: 9') if name.endswith('METADATA') else data
    return [p for p in altered(copy, change) if p.startswith('Version')]


def with_extension(text, *flags):
    """The wheel with another extension module in place of ours; its problems that match a pattern."""
    def build(copy, pattern):
        source, library = copy / 'other.c', copy / 'other.so'
        source.write_text('int PyInit__core(void);\n' + text)
        assert not complaint(['gcc', '-shared', '-fPIC', '-O2', *flags, '-o', library, source])
        return [p for p in altered(copy, lambda name, data: library.read_bytes() if name.endswith('.so') else data)
                if re.search(pattern, p)]
    return build


STRAY = with_extension('int stray(void);\nint stray(void) { return 0; }\nint PyInit__core(void) { return 0; }\n')
MISSING = with_extension('int nowhere(void);\nint PyInit__core(void) { return nowhere(); }\n')
GREEDY = with_extension('__thread char greedy[300];\nint PyInit__core(void) { return greedy[0]; }\n')
SOFT = with_extension('int PyInit__core(void) { return 0; }\n', '-Wl,-z,norelro')

run('the wheel holds the package alone, hardened', lambda root: problems_of(root, WHEEL), {
    'one file more': with_one_file_more,
    'a module that was forgotten': without_a_module,
    'another version': with_another_version,
    'a symbol that leaks': lambda copy: STRAY(copy, '^exports .*stray'),
    'a symbol that nobody has': lambda copy: MISSING(copy, '^nowhere'),
    'more variables of threads than there is room for': lambda copy: GREEDY(copy, 'bytes of variables of threads'),
    'an extension without RELRO': lambda copy: SOFT(copy, 'RELRO'),
})
