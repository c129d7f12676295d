#!/usr/bin/python3
"""Holds the rules and the tests of the conformance suite together.

    check_rules.py                   fails if a rule has no test, a test no rule, or RULES.md is out of date
    check_rules.py --write           writes RULES.md
    check_rules.py --canary [NAME]   checks a copy with a violation in it, and so must fail; --canary=list names them

A test is a RULE(name) in a .c file here, and its name begins with the number of its rule: c2_a_sentence.
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
EXECUTORS = ('threads', 'processes', 'cluster')
TEST = re.compile(r'^RULE\((\w+)\)', re.M)
HEAD = """\
# The rules and their tests

Written by `check_rules.py --write` from [rules.txt](rules.txt) and the tests; `check_rules.py` fails if it is out of date.
Each test runs on every executor of this release that its rule holds for, with 1, 2 and 8 workers. "later" is a rule that
no executor of this release has.

| rule | says | holds for | tests |
|---|---|---|---|
"""


class Suite:
    """What the folder holds, as text, so that a canary can change it."""

    def __init__(self):
        self.rules = (HERE / 'rules.txt').read_text()
        self.tests = {path.name: path.read_text() for path in sorted(HERE.glob('*.c'))}
        page = HERE / 'RULES.md'
        self.page = page.read_text() if page.exists() else ''


def rules_of(text):
    """(number, executors, what it says) of each line that is one."""
    return [tuple(line.split(None, 2)) for line in text.splitlines() if line.strip() and not line.startswith('#')]


def tests_by_rule(tests):
    found = {}
    for file, text in tests.items():
        for name in TEST.findall(text):
            found.setdefault(name.split('_')[0].upper(), []).append((name, file))
    return found


def problems_of_rules(rules):
    seen = set()
    for rule in rules:
        if len(rule) != 3:
            yield f'rules.txt: not a rule: {" ".join(rule)}'
            continue
        number, executors, _ = rule
        if number in seen:
            yield f'rules.txt: {number} stands there twice'
        seen.add(number)
        for executor in executors.split(','):
            if executor not in ('all', 'later', *EXECUTORS):
                yield f'rules.txt: {number} holds for {executor}, which is no executor'


def problems_of_tests(rules, tests):
    known = {number: executors for number, executors, _ in rules}
    names = [name for group in tests.values() for name, _ in group]
    yield from (f'{name}: two tests have this name' for name in sorted(set(names)) if names.count(name) > 1)
    for number, group in tests.items():
        if number not in known:
            yield from (f'{file}: {name}: no rule {number}' for name, file in group)
        elif known[number] == 'later':
            yield from (f'{file}: {name}: rules.txt says that {number} comes later' for name, file in group)
    for number, executors in known.items():
        if number not in tests and ('all' in executors or 'threads' in executors):
            yield f'rule {number} has no test'


def page_of(rules, tests):
    rows = []
    for number, executors, says in rules:
        links = '<br>'.join(f'[{name}]({file})' for name, file in tests.get(number, []))
        rows.append(f'| {number} | {says} | {executors.replace(",", ", ")} | {links or "-"} |\n')
    return HEAD + ''.join(rows)


def problems(suite):
    rules = rules_of(suite.rules)
    found = list(problems_of_rules(rules))
    if found:
        return found
    tests = tests_by_rule(suite.tests)
    found = list(problems_of_tests(rules, tests))
    if suite.page != page_of(rules, tests):
        found.append('RULES.md is out of date: run check_rules.py --write')
    return found


def drop_tests_of_c2(suite):
    for file, text in suite.tests.items():
        suite.tests[file] = re.sub(r'^RULE\(c2_', 'static void helper(', text, flags=re.M)
    refresh(suite)


def add_rule(suite):
    suite.rules += 'G1  all  Nobody has tested this\n'
    refresh(suite)


def add_test_without_rule(suite):
    suite.tests['a_tasks.c'] += 'RULE(x9_a_rule_that_is_not_there) {}\n'
    refresh(suite)


def add_test_of_later_rule(suite):
    suite.tests['a_tasks.c'] += 'RULE(e4_a_retry) {}\n'
    refresh(suite)


def add_test_twice(suite):
    suite.tests['a_tasks.c'] += 'RULE(a1_twice) {}\nRULE(a1_twice) {}\n'
    refresh(suite)


def add_test_without_page(suite):
    suite.tests['a_tasks.c'] += 'RULE(a1_not_in_the_table_yet) {}\n'


def misspell_executor(suite):
    suite.rules = suite.rules.replace('  all ', '  most ', 1)


def refresh(suite):
    suite.page = page_of(rules_of(suite.rules), tests_by_rule(suite.tests))


CANARIES = {
    'rule-without-test': add_rule,
    'rule-that-lost-its-tests': drop_tests_of_c2,
    'test-without-rule': add_test_without_rule,
    'test-of-later-rule': add_test_of_later_rule,
    'test-twice': add_test_twice,
    'page-out-of-date': add_test_without_page,
    'no-executor': misspell_executor,
}


def main(arguments):
    suite = Suite()
    if arguments[:1] == ['--write']:
        refresh(suite)
        (HERE / 'RULES.md').write_text(suite.page)
        return 0
    if arguments[:1] == ['--canary=list']:
        print('\n'.join(CANARIES))
        return 0
    if arguments[:1] == ['--canary']:
        CANARIES[arguments[1] if len(arguments) > 1 else 'rule-without-test'](suite)
    found = problems(suite)
    for problem in found:
        print(problem, file=sys.stderr)
    tests = tests_by_rule(suite.tests)
    print(f'{len(rules_of(suite.rules))} rules, {sum(map(len, tests.values()))} tests, {len(found)} problems')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
