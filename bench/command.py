"""The command: measures, keeps every sample, prints. scripts/bench and scripts/bench-python are what it is called by."""
import argparse
import dataclasses
import json
import os
import pathlib
import sys
import time

import measure
import report


@dataclasses.dataclass
class Benchmark:
    about: str
    folder: pathlib.Path    # where it was built, unless another is named
    build: str              # the folder of Meson's build, from there
    target: str             # what make calls it
    load_programs: object   # a function of the folder: {name: program}, [why one is missing]


def parse_arguments(benchmark):
    parser = argparse.ArgumentParser(description=benchmark.about)
    parser.add_argument('folder', nargs='?', type=pathlib.Path, default=benchmark.folder,
                        help=f'where it was built ({benchmark.folder.name})')
    parser.add_argument('--quick', action='store_true', help='less of everything: a minute instead of five')
    parser.add_argument('--rounds', type=int, help='samples of each figure (5; quick: 2)')
    parser.add_argument('--case', action='append', default=[], metavar='TEXT', help='only cases with TEXT in their name')
    parser.add_argument('--contender', action='append', default=[], metavar='NAME', help='only these contenders')
    parser.add_argument('--patience', type=float, default=0, metavar='MINUTES',
                        help='for so long, repeat each measurement during which others used the CPUs')
    parser.add_argument('--json', type=pathlib.Path, help='where the samples go (bench.json in the folder)')
    parser.add_argument('--markdown', action='store_true', help='print tables for the documentation')
    parser.add_argument('--saved', action='store_true', help='measure nothing: print what the JSON file holds')
    return parser.parse_args()


def save(path, results, facts):
    document = {'format': 1, 'machine': facts, 'cases': report.data(results)}
    path.write_text(json.dumps(document, indent=1) + '\n')


def load(path):
    document = json.loads(path.read_text())
    results = measure.Results()
    for case in document['cases']:
        for contender, data in case['contenders'].items():
            for sample in data['samples']:
                results.add(case['name'], contender, sample, None)
            for failure in data['failures']:
                results.add(case['name'], contender, None, failure)
    return results, document['machine']


def run(benchmark, arguments, path):
    programs, missing = benchmark.load_programs(arguments.folder)
    if not programs:
        sys.exit(f'{arguments.folder} holds no benchmark: make {benchmark.target} builds it')
    facts = measure.machine_facts(arguments.folder / benchmark.build, programs)
    facts['contenders'] = {name: program.about for name, program in programs.items()}
    facts['skipped'] = missing
    for line in [*measure.warnings(facts), *(f'skipped: {line}' for line in missing)]:
        print(f'note: {line}')
    started = time.monotonic()
    bench = measure.Run(programs, arguments.quick,
                        lambda name: not arguments.contender or name in arguments.contender,
                        started + 60 * arguments.patience, measure.progress_line)
    bench.measure(measure.chosen_cases(arguments.case), arguments.rounds or (2 if arguments.quick else 5))
    measure.progress_line('')
    facts |= {'seconds': round(time.monotonic() - started, 1), 'quick': arguments.quick,
              'load_average_after': os.getloadavg()[0], 'disturbed': bench.disturbed, 'repeated': bench.repeated}
    if bench.disturbed:
        print(f'note: others used the CPUs during {bench.disturbed} measurements; see --patience')
    results = bench.results
    save(path, results, facts)
    return results, facts


def main(benchmark):
    arguments = parse_arguments(benchmark)
    path = arguments.json or arguments.folder / 'bench.json'
    results, facts = load(path) if arguments.saved else run(benchmark, arguments, path)
    if arguments.markdown:
        print(report.markdown(results, facts))
    else:
        print(report.text(results))
        print(f"\n{report.counts(results)}, in {facts['seconds']} s. Every sample: {path}")
    return 1 if results.failures else 0
