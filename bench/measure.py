"""Runs the programs in turn, and keeps every sample."""
import dataclasses
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

from cases import CASES, settings_of

PROGRAMS = {
    'runium': '',
    'libuv': 'libuv1-dev',
    'glib': 'libglib2.0-dev',
    'tbb': 'libtbb-dev and g++',
    'libgomp': 'gcc as the compiler',
    'mutex': '',
    'bare': '',
    'runium-processes': '',
    'fork': '',
    'socketpair': '',
    'pipe': '',
    'zeromq': 'libzmq3-dev',
    'python': '',
    'bare-processes': '',
}
LONGEST_SECONDS = 60


class Results:
    """samples[case][contender]: a list of {figure: number}; failures the same with texts."""

    def __init__(self):
        self.samples = {}
        self.failures = {}

    def of(self, case, contender):
        return self.samples.get(case, {}).get(contender, [])

    def failures_of(self, case, contender):
        return self.failures.get(case, {}).get(contender, [])

    def contenders(self, case):
        return list(dict.fromkeys([*self.samples.get(case, {}), *self.failures.get(case, {})]))

    def values(self, case, contender, figure):
        return [sample[figure] for sample in self.of(case, contender) if figure in sample]

    def median(self, case, contender, figure):
        values = self.values(case, contender, figure)
        return statistics.median(values) if values else None

    def add(self, case, contender, sample, failure):
        if failure:
            self.failures.setdefault(case, {}).setdefault(contender, []).append(failure)
        else:
            self.samples.setdefault(case, {}).setdefault(contender, []).append(sample)


@dataclasses.dataclass
class Program:
    command: list
    about: str
    compiler: str
    cases: list    # of (contender, case)
    missing: list  # contenders that it has, but not here, and why


def load_program(*command):
    lines = subprocess.run([*command, '--list'], capture_output=True, text=True, check=True).stdout.splitlines()
    fields = [line.split('\t') for line in lines]
    facts = {field[0]: field[1] for field in fields if len(field) == 2}
    cases = [tuple(field[1:]) for field in fields if field[0] == 'case']
    missing = [field[1] for field in fields if field[0] == 'missing']
    return Program(list(command), facts['about'], facts.get('compiler'), cases, missing)


def load_programs(build):
    """The programs that were built, and a line for each that was not."""
    found, missing = {}, []
    for name, package in PROGRAMS.items():
        path = build / 'bench' / f'bench-{name}'
        if path.exists():
            found[name] = load_program(path)
        else:
            missing.append(f'{name}: not built' + (f'; needs {package}' if package else ''))
    return found, missing


def measure_once(program, contender, case, settings):
    """One process, one figure: (sample, None) or (None, why it failed)."""
    command = [*program, contender, case, *(f'{key}={value}' for key, value in settings.items())]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        return None, f'not done after {LONGEST_SECONDS} s'
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or ['no message'])[-1]
        how = f'signal {-ended.returncode}' if ended.returncode < 0 else f'exit status {ended.returncode}'
        return None, f'{how}: {last}'
    try:
        return json.loads(ended.stdout), None
    except ValueError:
        return None, f'no figures in its output: {ended.stdout[:80]!r}'


class Neighbours:
    """How much CPU time others take meanwhile, by the kernel's counts, which go in steps of 10 ms."""

    def __init__(self):
        self.started, self.busy, self.own = time.monotonic(), machine_busy_seconds(), own_seconds()

    def were_loud(self):
        """More than a twentieth of one CPU, and more than the counts' steps."""
        others = (machine_busy_seconds() - self.busy) - (own_seconds() - self.own)
        return others > max(0.03, 0.05 * (time.monotonic() - self.started))


def machine_busy_seconds():
    with open('/proc/stat') as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf('SC_CLK_TCK')


def own_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def entries(programs, case, wanted):
    return [(program, contender) for program in programs.values() for contender, name in program.cases
            if name == case.program and wanted(contender)]


def rotated(items, by):
    by %= max(1, len(items))
    return items[by:] + items[:by]


@dataclasses.dataclass
class Run:
    """What to measure, and what came of it so far."""
    programs: dict
    quick: bool
    wanted: object          # a function of a contender's name
    patience_ends: float    # until then a disturbed measurement is done again
    progress: object        # a function of a text
    results: Results = dataclasses.field(default_factory=Results)
    gave_up: set = dataclasses.field(default_factory=set)
    disturbed: int = 0
    repeated: int = 0

    def measure_quietly(self, program, contender, case):
        """Whether a measurement counts is decided by what others did meanwhile, never by its figure."""
        while True:
            neighbours = Neighbours()
            settings = settings_of(case, contender, self.quick)
            sample, failure = measure_once(program.command, contender, case.program, settings)
            if failure or not neighbours.were_loud():
                return sample, failure
            if time.monotonic() > self.patience_ends:
                self.disturbed += 1
                return sample, failure
            self.repeated += 1
            time.sleep(1)

    def measure_in_turn(self, case, number):
        for program, contender in rotated(entries(self.programs, case, self.wanted), number):
            if (case.name, contender) in self.gave_up:
                continue
            sample, failure = self.measure_quietly(program, contender, case)
            self.results.add(case.name, contender, sample, failure)
            if failure and failure.startswith('not done'):
                self.gave_up.add((case.name, contender))

    def measure(self, cases, rounds):
        """Round by round, case by case, the contenders in turn: none has the quiet minutes to itself."""
        for number in range(rounds):
            for case in cases:
                if number < case.most_rounds:
                    self.progress(f'round {number + 1} of {rounds}: {case.title}')
                    self.measure_in_turn(case, number)


def first_match(path, prefix, separator):
    try:
        for line in pathlib.Path(path).read_text().splitlines():
            if line.startswith(prefix):
                return line.split(separator, 1)[1].strip().strip('"')
    except OSError:
        pass
    return 'unknown'


def build_options(build):
    interesting = ['buildtype', 'optimization', 'b_sanitize', 'b_lto', 'b_coverage']
    try:
        options = json.loads((build / 'meson-info/intro-buildoptions.json').read_text())
    except OSError:
        return {}
    return {option['name']: option['value'] for option in options if option['name'] in interesting}


def machine_facts(build, programs):
    return {
        'cpu': first_match('/proc/cpuinfo', 'model name', ':'),
        'cpus_allowed': len(os.sched_getaffinity(0)),
        'memory': first_match('/proc/meminfo', 'MemTotal', ':'),
        'system': first_match('/etc/os-release', 'PRETTY_NAME', '='),
        'kernel': platform.release(),
        'compiler': ', '.join(sorted({program.compiler for program in programs.values() if program.compiler})),
        'build': build_options(build),
        'load_average_before': os.getloadavg()[0],
        'started': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
    }


def warnings(facts):
    build = facts['build']
    if facts['load_average_before'] > 0.5:
        yield f"something else runs on this machine (load average {facts['load_average_before']:.2f})"
    if build.get('optimization') not in ('2', '3', None):
        yield f"the library was built with -O{build['optimization']}"
    if build.get('b_sanitize', 'none') != 'none' or build.get('b_coverage'):
        yield 'the library was built with a sanitizer or for coverage'


def progress_line(text):
    if sys.stderr.isatty():
        print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)


def chosen_cases(patterns):
    return [case for case in CASES if not patterns or any(pattern in case.name for pattern in patterns)]
