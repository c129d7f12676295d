#!/usr/bin/env python3
"""Writes the first inputs of the corpus: values and ELF files at the borders of what is accepted.

    seeds.py FOLDER     writes FOLDER/wire, FOLDER/elf and FOLDER/capsule
"""
import pathlib
import struct
import sys

DEPTH = 32


def data(text):
    return struct.pack('<I', len(text)) + text


def error(cause, message=b'm', task=b't', hook=b'on_iter', code=5):
    return b'\7' + struct.pack('<iiQ', code, 7, 1) + b''.join(map(data, [message, b'f.c', task, hook, cause]))


def detailed(detail, cause=b'\0'):
    parts = [b'm', b'f.c', b't', b'on_iter', detail, cause]
    return b'\x87' + struct.pack('<iiQ', 5, 7, 1) + b''.join(map(data, parts))


def nested(depth, detail=b'\1\1'):
    for _ in range(depth):
        detail = detailed(detail)
    return detail


def buffer(number, size):
    return b'\x08' + struct.pack('<IQ', number, size)


def chain(depth, cause=b'\0'):
    for _ in range(depth):
        cause = error(cause)
    return cause


def wire():
    yield from [b'', b'\0', b'\1\0', b'\1\1', b'\1\2', b'\6' + bytes(8), b'\x08', b'\xff']
    yield from [b'\2' + bytes(8), b'\3' + bytes(8), b'\2' + bytes(7)]
    for kind in b'\4', b'\5':
        yield from [kind + data(b''), kind + data(b'text'), kind + data(b'te\0t'), kind + data(b'text') + b'more']
        yield from [kind + struct.pack('<I', length) + b'text' for length in (5, 2**31, 2**32 - 1)]
    yield from [chain(depth) for depth in (1, 2, DEPTH, DEPTH + 1)]
    yield from [chain(1, odd) for odd in (b'', b'\0\0', b'\1\1', chain(1) + b'\0')]
    yield from [chain(1)[:-1], error(b'\0', code=0), error(b'\0', task=b't' * 63), error(b'\0', task=b't' * 64)]
    yield from [error(b'\0', task=b't' * 300), error(b'\0', message=b'a\0b'), error(b'\0', hook=b'\0')]
    yield chain(1)[:17] + struct.pack('<I', 2**32 - 1) + chain(1)[21:]
    yield from [buffer(0, 1), buffer(0, 1)[:-1], buffer(0, 2), buffer(1, 0x1234), buffer(0, 2**64 - 1), buffer(2**32 - 1, 1)]
    yield from [buffer(0, 1) + buffer(1, 0x1234), buffer(0, 1) + buffer(0, 1), buffer(0, 1) + buffer(1, 1)]
    yield from [buffer(0, 1) + buffer(1, 0x1234) + buffer(2, size) for size in (0, 1)]
    yield from [chain(1, buffer(0, 1)), chain(1) + buffer(0, 1) + b'\1\1']
    yield from [nested(depth) for depth in (1, 4, 5, 6)]
    yield from [detailed(detail) for detail in (b'', b'\0', b'\x06' + bytes(8), buffer(0, 1), b'\5' + data(b'x'), b'\1\1\1')]
    yield from [detailed(chain(2), chain(2)), detailed(nested(1), nested(1)), chain(1, nested(1)), nested(1)[:-1]]


def note(name_size=4, id_size=20, kind=3):
    return struct.pack('<III', name_size, id_size, kind) + b'GNU\0' + bytes(range(1, id_size + 1 if id_size < 64 else 9))


def header(segments=0, sections=0, section_size=64):
    ident = b'\x7fELF\2\1\1' + bytes(9)
    at = 64 + 56 * segments
    return ident + struct.pack('<HHIQQQIHHHHHH', 3, 62, 1, 0, 64, at, 0, 64, 56, segments, section_size, sections, 0)


def segment(kind, offset, size):
    return struct.pack('<IIQQQQQQ', kind, 5, offset, 0, 0, size, size, 4)


def section(kind, offset, size, link=0, entry=24):
    return struct.pack('<IIQQQQIIQQ', 0, kind, 0, 0, offset, size, link, 0, 8, entry)


def symbol(name, value, size, info=2, index=1):
    return struct.pack('<IBBHQQ', name, info, 0, index, value, size)


def symbols_file(count=2, size=None, link=2, strings_size=None, sections=3):
    strings = b'\0outer\0inner\0od\x1bd\0'
    table = b''.join([symbol(1, 100, 50), symbol(7, 110, 5), *[symbol(13, 5 * i, 0) for i in range(count)]])
    at = 64 + 64 * 3
    return (header(sections=sections) + section(0, 0, 0) +
            section(2, at, len(table) if size is None else size, link) +
            section(3, at + len(table), len(strings) if strings_size is None else strings_size) + table + strings +
            struct.pack('<Q', 120))


def elf():
    yield from [b'', b'\x7fELF', header(), header()[:63], header(sections=65535), header(segments=65535)]
    for odd in (note(), note(id_size=1), note(id_size=40), note(id_size=0), note(name_size=2**32 - 1),
                note(id_size=2**32 - 1), note(kind=1) + note(), note()[:-1]):
        yield odd
        yield header(segments=2) + segment(1, 0, 400) + segment(4, 64 + 112, len(odd)) + odd
    yield header(segments=1) + segment(4, 64 + 56, 2**64 - 1)
    yield header(segments=1) + segment(4, 64 + 56, 4200) + note(kind=1, id_size=4000 - 16) + bytes(4200)
    yield header(segments=1) + segment(1, 2**64 - 1, 2**64 - 1)
    yield from [symbols_file(), symbols_file(200), symbols_file(size=2**63), symbols_file(link=9),
                symbols_file(strings_size=2), symbols_file(strings_size=2**64 - 1), symbols_file(sections=2)]


HEADER = {
    'task': 't', 'part': 'function', 'iteration': '2', 'times': '3', 'every': '0', 'missed': '1', 'run': '9', 'time': 'T',
    'cause': 'c', 'argument': 'a', 'file': '', 'file-id': '12ab', 'offset': '0x1f', 'symbol': 's', 'program': '/p',
    'program-id': '00', 'name': 'n', 'library': '', 'folder': '/', 'workers': '1', 'limit-address-space': 'unlimited',
    'limit-data': '1', 'limit-file-size': '2', 'limit-locked-memory': '3', 'limit-open-files': '4', 'limit-stack': '5'}


def capsule_file(values=b'\0', variables=('A=b',), length=None, trace=(), **changes):
    fields = {**HEADER, **{name.replace('_', '-'): text for name, text in changes.items()}}
    lines = ['runium capsule 1', *(f'{name}: {text}' for name, text in fields.items()),
             *(f'trace: {text}' for text in trace), *(f'variable: {text}' for text in variables), f'values: {len(values) if length is None else length}']
    return '\n'.join(lines).encode() + b'\n\n' + values


def capsule():
    yield from [b'', b'runium capsule 2\n', capsule_file(), capsule_file()[:-1], capsule_file()[:200], capsule_file() + b'x']
    yield from [capsule_file(length=length) for length in (0, 2, 2**64 - 1, 'unlimited')]
    yield from [capsule_file(part=part, values=b'\0' + chain(1)) for part in ('on_error', 'on_iter', 'on_success', 'odd')]
    yield from [capsule_file(part=part, values=b'\0\0') for part in ('on_error', 'on_finished', 'on_success')]
    yield from [capsule_file(values=chain(1)), capsule_file(variables=())]
    yield from [capsule_file(variables=('A', text)) for text in ('\\x0a\\x5c', '\\x41', '\\x00', '\\', '\\x0', '\\x0A')]
    buffer = b'\x08' + struct.pack('<Q', 3) + b'abc'
    yield from [capsule_file(values=odd) for odd in (buffer, buffer[:-1], buffer[:8], b'\x08' + bytes(8), buffer + b'x')]
    yield from [capsule_file(values=b'\0' + buffer, part='on_iter'), capsule_file(values=b'\x08' + b'\xff' * 12)]
    yield from [capsule_file(trace=('#0', '', '#1')), capsule_file(trace=('\\x61',))]
    yield capsule_file(run='99999999999999999999')
    for number in '0', '01', '4', '18446744073709551615', '18446744073709551616', 'unlimited', '', '-1':
        yield from [capsule_file(iteration=number), capsule_file(times=number), capsule_file(limit_stack=number)]
    yield from [capsule_file(file_id=text) for text in ('', '1', 'AB', 'ab' * 32, 'ab' * 33, 'xy')]
    yield from [capsule_file(offset=text) for text in ('0x0', '0x', '0x01', '12', '0x' + 'f' * 16, '0x' + 'f' * 17)]
    yield from [capsule_file(task='t' * 63), capsule_file(task='t' * 64), capsule_file(program='p'), capsule_file(every=2**63)]


def main(folder):
    for name, inputs in ('wire', wire()), ('elf', elf()), ('capsule', capsule()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, each in enumerate(inputs):
            (folder / name / f'seed{number:02}').write_bytes(each)


main(pathlib.Path(sys.argv[1]))
