"""The repository speaks of Runium alone, not of how or where it was written."""
import re
import subprocess

from checks import run, seed

# Written so that this file does not contain them.
WORDS = re.compile('|'.join([
    r'[/]work/', r'\bshared/[a-z]+\.(md|txt)', r'\bshared/see[d]', r'/tmp/(build-|brie[f]|lib-read[y]|bug[s])',
    r'\b(?<!user-)(?<!user )(?<!transfer )(sub)?agen[t]s?\b', r'\bhelper sessio[n]', r'\bthe lea[d]\b',
    r'\b[C]EO\b', r'\bLL[M]\b', r'\b[Cc]laud[e]\b', r'\bAnthropi[c]\b', r'\bissues sho[w]\b', r'\bthe brie[f]\b',
]))


def tracked(root):
    """The files that git knows or would add; in a tree without git, all."""
    listed = subprocess.run(['git', '-C', root, 'ls-files', '-co', '--exclude-standard'],
                            capture_output=True, text=True)
    if listed.returncode == 0 and (root / '.git').exists():
        return [root / name for name in listed.stdout.splitlines()]
    return [path for path in root.rglob('*') if path.is_file()]


def problems(root):
    for path in tracked(root):
        try:
            lines = path.read_text().splitlines()
        except (UnicodeDecodeError, OSError):
            continue
        for number, line in enumerate(lines, 1):
            match = WORDS.search(line)
            if match:
                yield f'{path.relative_to(root)}:{number}: "{match[0]}"'


def canary(text):
    return lambda copy: [p for p in problems(seed(copy, 'docs/seeded.md', text + '\n')) if 'seeded.md' in p]


run('no word about the workplace', lambda root: list(problems(root)), {
    'a path of the machine': canary('see /wo' 'rk/main'),
    'a path of the rules': canary('see ../sha' 'red/semantics.md'),
    'who wrote it': canary('written by an ag' 'ent'),
})
