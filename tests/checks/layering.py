"""Who may include whom: a room includes itself and the rooms below it, only base the
system, and everyone outside src/ uses runium.h."""
import re

from checks import files, run, seed

ROOMS = ['base', 'value', 'core', 'thread']  # each may include those before it; thread: executor 1, and the pool of others
EXECUTORS = ['process']                     # each may include all rooms, and no other executor
KNOWS_THE_EXECUTORS = 'executors.c'         # the one file that knows them all; above the rooms
INSIDERS = ['tests/unit', 'tests/model', 'tests/process', 'tests/fuzz', 'tests/proof']    # may look into src/
OUTSIDERS = ['tests', 'examples', 'bench', 'cli', 'python']
SYSTEM = re.compile(r'(sys|linux|asm)/|(pthread|unistd|sched|signal|fcntl|poll|dlfcn|semaphore|threads|stdatomic)\.h$')
SYSTEM_OUTSIDE_BASE = {('src/core/world.c', 'pthread.h')}  # pthread_atfork() and pthread_once()
PUBLIC = {'runium.h', 'runium/testing.h'}
PROMISE_ONLY = ('cli/', 'python/')          # are on runium.h alone: the test kit is no part of it
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def includes(path):
    return INCLUDE.findall(path.read_text())


def allowed_rooms(room):
    if room == KNOWS_THE_EXECUTORS:
        return ROOMS + EXECUTORS
    return ROOMS + [room] if room in EXECUTORS else ROOMS[:ROOMS.index(room) + 1]


def problems_inside(root):
    for path in files(root, ['src']):
        name = str(path.relative_to(root))
        room = name.split('/')[1]
        if room not in [*ROOMS, *EXECUTORS, KNOWS_THE_EXECUTORS]:
            yield f'{name}: no such room; rooms are {", ".join(ROOMS + EXECUTORS)}'
            continue
        for quote, included in includes(path):
            if SYSTEM.match(included) and room != 'base' and (name, included) not in SYSTEM_OUTSIDE_BASE:
                yield f'{name}: only base may include <{included}>'
            if quote == '<' or included in PUBLIC:
                continue
            if not (root / 'src' / included).exists() and not included.startswith('model_'):
                yield f'{name}: includes "{included}", which is not a path below src/'
            elif included.split('/')[0] not in allowed_rooms(room) and not included.startswith('model_'):
                yield f'{name}: {room} must not include "{included}"'


def problems_outside(root):
    for path in files(root, OUTSIDERS, ('.c', '.h', '.cc')):
        name = str(path.relative_to(root))
        if any(name.startswith(folder + '/') for folder in INSIDERS):
            continue
        for quote, included in includes(path):
            beside = (path.parent / included).resolve()
            inside = (root / 'src' / included).exists() or (root / 'src').resolve() in beside.parents
            allowed = {'runium.h'} if name.startswith(PROMISE_ONLY) else PUBLIC
            if inside or (included.startswith('runium') and included not in allowed):
                yield f'{name}: must not include "{included}", only the public headers'


def problems_unbuilt(root):
    built = set(re.findall(r"'([^']+\.c)'", (root / 'src/meson.build').read_text()))
    present = {str(path.relative_to(root / 'src')) for path in files(root, ['src'], ('.c',))}
    yield from (f'src/{name}: not in src/meson.build' for name in sorted(present - built))


def problems(root):
    return [*problems_inside(root), *problems_outside(root), *problems_unbuilt(root)]


def canary(path, line):
    return lambda copy: [p for p in problems(seed(copy, path, line + '\n')) if p.startswith(path)]


run('every include goes down the rooms', problems, {
    'base that includes core': canary('src/base/memory.c', '#include "core/completion.h"'),
    'core that includes an executor': canary('src/core/completion.c', '#include "thread/deque.h"'),
    'core that asks the system': canary('src/core/completion.c', '#include <unistd.h>'),
    'an include that names no room': canary('src/core/completion.c', '#include "completion.h"'),
    'a room that nobody planned': canary('src/misc/util.c', ''),
    'a source that is not built': canary('src/base/forgotten.c', ''),
    'an example that includes an internal header': canary('examples/seeded.c', '#include "../src/base/atomic.h"'),
    'a command-line program that looks behind runium.h': canary('cli/runium.c', '#include <runium/testing.h>'),
    'a Python module that looks behind runium.h': canary('python/src/module.c', '#include "core/run.h"'),
    'a test that includes an internal header': canary('tests/conformance/seeded.c', '#include "core/completion.h"'),
})
