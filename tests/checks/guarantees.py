"""Every sentence of docs/guarantees.md names a test, and every test that it names is there and is run.

The page is a list under headings; an entry is one sentence, then links to its tests: [name](../tests/folder/file).
What stands above the first heading is the introduction, and promises nothing.
"""
import re

from checks import run

PAGE = 'docs/guarantees.md'
LINK = re.compile(r'\[([^\]]+)\]\(\.\./(tests/(\w+)/([\w.]+))\)')
# How a test is declared, by folder. A fault program has a row of its own and functions that prove a part of it; one about
# worker processes too, and its functions are sentences.
PROGRAM = r'^static void (prove_\w+)\(|^    proof_begin\(argc, argv, [^"]*"([^"]+)"(?: : "([^"]+)")?'
DECLARED = {
    'checks': r"^run\('([^']+)'",
    'conformance': r'^RULE\((\w+)\)',
    'examples': r'^    def (test_\w+)\(',
    'fault': PROGRAM,
    'model': r'mc_main\("([^"]+)"',
    'process': PROGRAM + r'|^static void ([a-z]+(?:_[a-z]+){3,})\(|^static void (\w+)\(void \*\*|printf\("(P\d+): |^TEST\((\w+)\)',
    'stress': PROGRAM,
    'unit': r'^TEST\((\w+)\)',
}
RECIPES = {'examples': 'examples/meson.build'}  # of the other folders: the meson.build in them


def entries(page):
    """The entries under headings, each on one line; and what is under a heading and in no entry."""
    _, *sections = re.split(r'^##? .*\n', page, flags=re.M)[1:]
    for section in sections:
        for paragraph in re.split(r'\n(?=- )|\n\n+', section):
            if paragraph.strip():
                yield ' '.join(paragraph.split())


def tests_of(root, path, folder):
    found = re.findall(DECLARED.get(folder, '(?!)'), (root / path).read_text(), re.M)
    return {name for group in found for name in ([group] if isinstance(group, str) else group) if name}


def recipe_of(folder):
    return RECIPES.get(folder, f'tests/{folder}/meson.build')


def is_run(root, folder, file):
    recipe = root / recipe_of(folder)
    stem = file.rsplit('.', 1)[0].removesuffix('_check')  # tests/model names what is checked
    return recipe.exists() and re.search(rf"'{re.escape(stem)}(\.\w+)?'", recipe.read_text())


def problems_of_link(root, name, path, folder, file):
    if not (root / path).is_file():
        yield f'{path} is not there'
    elif not is_run(root, folder, file):
        yield f'{recipe_of(folder)} does not run {file}'
    elif name not in tests_of(root, path, folder):
        yield f'{path} has no test {name}'


def problems_of_entry(root, entry):
    links = LINK.findall(entry)
    sentence = LINK.sub('', entry).rstrip(' ,')
    if not entry.startswith('- '):
        yield 'neither a heading nor an entry'
    elif not links:
        yield 'names no test'
    elif not sentence.endswith('.') or '. ' in sentence or '](' in sentence:
        yield 'is not one sentence and then its tests'
    for link in links:
        yield from problems_of_link(root, *link)


def problems(root):
    found = list(entries((root / PAGE).read_text()))
    if not found:
        yield f'{PAGE}: no entry'
    for entry in found:
        yield from (f'{PAGE}: {problem}: {entry[:100]}' for problem in problems_of_entry(root, entry))


def canary(text):
    """A page with one entry more."""
    def violate(copy):
        with (copy / PAGE).open('a') as page:
            page.write(f'\n## Seeded\n\n{text}\n')
        return [problem for problem in problems(copy) if 'seeded' in problem]
    return violate


def unregister(copy):
    recipe = copy / 'tests/conformance/meson.build'
    recipe.write_text(recipe.read_text().replace("'a_tasks'", "'other'"))
    return list(problems(copy))


def rename_test(copy):
    source = copy / 'tests/conformance/a_tasks.c'
    source.write_text(source.read_text().replace('RULE(a1_', 'RULE(a1_renamed_'))
    return list(problems(copy))


TEST = '[a1_making_a_task_runs_nothing](../tests/conformance/a_tasks.c)'

run('every guarantee names a test that is run', lambda root: list(problems(root)), {
    'a sentence without a test': canary('- This seeded sentence is so.'),
    'a test that is not there': canary('- This seeded one is so. [a1_no_such](../tests/conformance/a_tasks.c)'),
    'a file that is not there': canary('- This seeded one is so. [a1_no_such](../tests/conformance/none.c)'),
    'a name that is only mentioned': canary('- This seeded one is so. [rn_run](../tests/conformance/a_tasks.c)'),
    'a second sentence': canary(f'- This seeded one is so. And so is this. {TEST}'),
    'a promise beside the list': canary('This seeded paragraph is so.'),
    'a promise after an entry': canary(f'- This one is so. {TEST}\n\nThis seeded paragraph is so.'),
    'a test that was renamed': rename_test,
    'a test that is not run any more': unregister,
})
