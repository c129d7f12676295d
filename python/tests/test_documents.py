"""The examples do what they say, and the documents show parts of them."""
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once
ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / 'python/examples'
BLOCK = re.compile(r'(?:^<!-- (?P<file>\S+) -->\n)?^```python\n(?P<text>.*?)^```$', re.M | re.S)
PRINTED = {
    'callbacks': '''\
17
ValueError("invalid literal for int() with base 10: 'x'")
on_error: invalid literal for int() with base 10: 'seventeen'
on_finished: None invalid literal for int() with base 10: 'seventeen'
0
on_iter: 3
on_iter: 3
on_iter: 3
''',
    'schedules': '''\
tick 1 and 2 to come
tick 2 and 1 to come
tick 3 and 0 to come
Tea is ready.
Happy new year.
pending: ['endless']
stopped
''',
    'processes': '144\n0\n1\n2\ncrashed by signal 11\n4\n',
    'standard': "42\n[0, 2, 4]\n[0, 2, 4]\n[0, 2, 4]\ninvalid literal for int() with base 10: 'x'\n",
}


def run(path):
    return subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize('name', sorted(PRINTED))
def test_an_example_prints_what_it_should(name):
    done = run(EXAMPLES / f'{name}.py')
    assert (done.returncode, done.stdout) == (0, PRINTED[name]), done.stderr


def test_the_first_lines_end_with_the_result_of_the_callback():
    done = run(EXAMPLES / 'first.py')
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Sending email...\nThe callback got 'Email sent.' and None.\n")


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES.glob('*.py')} == {*PRINTED, 'first'}


@pytest.mark.parametrize('document', ['docs/python.md', 'README.md'])
def test_code_in_a_document_is_a_part_of_the_file_that_it_names(document):
    blocks = list(BLOCK.finditer((ROOT / document).read_text()))
    assert blocks
    for block in blocks:
        assert block['file'], block['text']
        assert block['text'] in (ROOT / block['file']).read_text(), block['text']


def test_links_in_the_document_lead_somewhere():
    text = (ROOT / 'docs/python.md').read_text()
    headings = {re.sub(r'[^\w -]', '', heading).strip().lower().replace(' ', '-')
                for heading in re.findall(r'^#+ (.*)', text, re.M)}
    for file, anchor in re.findall(r'\]\(([^)#\s]*)(?:#([^)\s]+))?\)', text):
        assert (ROOT / 'docs' / file).exists() if file else anchor in headings, file or anchor


def test_every_public_name_is_in_the_document():
    import runium
    text = (ROOT / 'docs/python.md').read_text()
    assert [name for name in runium.__all__ if name not in text] == []
