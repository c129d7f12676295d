"""The README shows code that is compiled and output that is tested, and its links and commands lead somewhere: ROOT

A block of code or output follows a comment that names its file, and stands in that file word for word. The outcome
is TAP; after each claim come its canaries, READMEs with one fault that must be found.
"""
import pathlib
import re
import sys

BLOCK = re.compile(r'(?:^<!-- (?P<file>\S+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$', re.M | re.S)
LINK = re.compile(r'\]\(([^)#\s]+)')
ANCHOR = re.compile(r'\]\(#([^)\s]+)\)')
LIMIT = re.compile(r'^\| `(RN_\w+)` \| (\d+) \|', re.M)
RULE = re.compile(r'^\| \[?([A-F]\d+)(?:\]\((\S+)\))? \|', re.M)
NOT_YET = re.compile(r'^\| ((?:[A-F]\d+(?:, )?)+) \| threads', re.M)
RULES = [f'{letter}{number}' for letter, count in zip('ABCDEF', (5, 7, 10, 6, 4, 5)) for number in range(1, count + 1)]


def wrong_blocks(root, readme):
    blocks = list(BLOCK.finditer(readme))
    if not blocks:
        yield 'no block was found'
    for block in blocks:
        first_line = block['text'].split('\n')[0]
        if block['file'] is None:
            yield f'the {block["language"]} block "{first_line}" does not name its file'
        elif not (root / block['file']).is_file():
            yield f'{block["file"]}: no such file'
        elif block['text'] not in (root / block['file']).read_text():
            yield f'{block["file"]} does not hold the block "{first_line}"'


def dead_links(root, readme):
    headings = {re.sub(r'[^\w -]', '', heading).strip().lower().replace(' ', '-')
                for heading in re.findall(r'^#+ (.*)', readme, re.M)}
    for link in LINK.findall(readme):
        if '://' not in link and not (root / link).exists():
            yield f'{link}: no such file'
    for anchor in ANCHOR.findall(readme):
        if anchor not in headings:
            yield f'#{anchor}: no such heading'


def wrong_commands(root, readme):
    targets = re.findall(r'^([a-z-]+):', (root / 'Makefile').read_text(), re.M)
    for target in re.findall(r'(?:`|^    )make ([a-z-]+)', readme, re.M):
        if target not in targets:
            yield f'make {target}: no such target'


def wrong_limits(root, readme):
    header = (root / 'include/runium.h').read_text()
    for name, value in LIMIT.findall(readme):
        if not re.search(rf'^#define {name} {value}u?$', header, re.M):
            yield f'{name} is not {value}'


def wrong_rules(root, readme):
    """The table of the rules, and below it the one of those that are not kept."""
    rows = RULE.findall(readme)
    not_kept = ', '.join(NOT_YET.findall(readme)).split(', ')
    listed = list(dict.fromkeys(rule for rule, _ in rows))
    if listed != RULES:
        yield f'the table lists {listed}, not {RULES}'
    for rule, file in rows:
        tests = (root / file).read_text() if file and (root / file).exists() else ''
        if f'RULE({rule.lower()}_' not in tests and rule not in not_kept:
            yield f'{rule}: "{file}" holds no test of it'


CLAIMS = (
    ('every block is a part of the file that it names', wrong_blocks, {
        'code that differs from its file': lambda text: text.replace('rn_is_error(error)', 'rn_is_error(success)', 1),
        'a block that names no file': lambda text: text + '\n```c\nint main(void);\n```\n',
        'a block whose file is not there': lambda text: text + '\n<!-- examples/none.c -->\n```c\nint x;\n```\n',
        'a README without blocks': lambda text: text.replace('```', ''),
    }),
    ('every link leads to a file or a heading', dead_links, {
        'a link to no file': lambda text: text + '\n[nothing](docs/nothing.md)\n',
        'a link to no heading': lambda text: text + '\n[nothing](#nothing)\n',
    }),
    ('every command is a target of the Makefile', wrong_commands, {
        'a command that is none': lambda text: text + '\nThen `make coffee`.\n',
    }),
    ('the limits are those of the header', wrong_limits, {
        'a limit that has changed': lambda text: text.replace('| 1024 |', '| 1025 |'),
    }),
    ('every rule is in the table and has tests where its link leads', wrong_rules, {
        'a rule that was left out': lambda text: re.sub(r'^\| \[C7.*\n', '', text, flags=re.M),
        'a rule without tests': lambda text: re.sub(r'\[C7\]\(\S+\)', 'C7', text),
        'a link to the tests of another rule': lambda text: re.sub(r'\[A1\]\(\S+\)', '[A1](README.md)', text),
    }),
)


def main(root):
    readme = (root / 'README.md').read_text()
    results = []
    for claim, problems, canaries in CLAIMS:
        results.append((claim, list(problems(root, readme))))
        for fault, spoil in canaries.items():
            caught = set(problems(root, spoil(readme))) - set(results[-1][1])
            results.append((f'catches {fault}', [] if caught else ['the canary was not caught']))
    print(f'1..{len(results)}')
    for number, (claim, found) in enumerate(results, 1):
        print('not ok' if found else 'ok', number, '-', claim)
        for problem in found:
            print('#', problem)


main(pathlib.Path(sys.argv[1]))
