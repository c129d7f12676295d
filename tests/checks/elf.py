"""How a hardened shared object looks from outside: what hardening.py and wheel.py have in common."""
import re

from checks import output

LIBC = {'libc.so.6', 'ld-linux-x86-64.so.2', 'ld-linux-aarch64.so.1'}


def features(library, needed=LIBC):
    """What each measure looks like in the file: (claim, is it so)."""
    dynamic = output(['readelf', '-dW', library])
    segments = output(['readelf', '-lW', library])
    symbols = output(['nm', '-D', library])
    loads = re.findall(r'^\s+LOAD\s.*?\s([R ][W ][E ])\s+0x\w+$', segments, re.M)
    return [
        ('RELRO', 'GNU_RELRO' in segments),
        ('all symbols bound at start', 'BIND_NOW' in dynamic),
        ('never unmapped', 'NODELETE' in dynamic),
        ('no executable stack', re.search(r'GNU_STACK.*RW ', segments)),
        ('no segment both writable and executable', loads and not any('W' in f and 'E' in f for f in loads)),
        ('code in pages of its own', 'R E' in loads and 'R  ' in loads),
        ('no RPATH', 'RPATH' not in dynamic and 'RUNPATH' not in dynamic),
        ('no relocation in code', 'TEXTREL' not in dynamic),
        ('stack protector', '__stack_chk_fail' in symbols),
        ('FORTIFY', re.search(r'__\w+_chk\b(?<!stack_chk)', symbols)),
        ('only the C library needed', set(re.findall(r'NEEDED.*\[(.*)\]', dynamic)) <= needed),
    ]


def weaknesses(library, needed=LIBC):
    return [f'{library}: missing: {claim}' for claim, holds in features(library, needed) if not holds]
