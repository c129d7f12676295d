"""Functions and files stay small enough to be read at once."""
from checks import files, note, output, run, seed

FUNCTION_LINES = 70
FILE_LINES = 600
CODE = ['src', 'tests', 'examples', 'bench', 'cli', 'python']


def functions(paths):
    """(lines, name, path) of every function: universal-ctags knows where each begins and ends."""
    command = ['ctags', '--languages=C,C++', '--kinds-C=f', '--kinds-C++=f', '--fields=+e', '-x',
               '--_xformat=%n %{end} %N %F', *map(str, paths)]
    for line in output(command).splitlines():
        first, last, name, path = line.split(' ', 3)
        yield int(last) - int(first) + 1, name, path


def problems(root):
    paths = files(root, CODE, ('.c', '.h', '.cc'))
    found = [f'{path.removeprefix(str(root) + "/")}: {name}() has {lines} lines, more than {FUNCTION_LINES}'
             for lines, name, path in functions(paths) if lines > FUNCTION_LINES]
    for path in paths:
        lines = path.read_text().count('\n')
        if lines > FILE_LINES:
            found.append(f'{path.relative_to(root)}: {lines} lines, more than {FILE_LINES}')
    return found


def report(root):
    lengths = sorted(lines for lines, _, _ in functions(files(root, ['src'])))
    if lengths:
        median, p95 = lengths[len(lengths) // 2], lengths[len(lengths) * 95 // 100]
        note(f'{len(lengths)} functions in src/: median {median} lines, p95 {p95}, longest {lengths[-1]}')


def problems_and_report(root):
    report(root)
    return problems(root)


def long_function(copy):
    body = '    step();\n' * FUNCTION_LINES
    return [p for p in problems(seed(copy, 'src/base/seeded.c', f'static void seeded(void) {{\n{body}}}\n'))
            if 'seeded()' in p]


def long_file(copy):
    return [p for p in problems(seed(copy, 'src/base/seeded.c', '\n' * (FILE_LINES + 1))) if 'seeded.c' in p]


run('functions and files are short', problems_and_report, {
    'a function that is too long': long_function,
    'a file that is too long': long_file,
})
