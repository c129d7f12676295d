"""Verdicts and tables."""
import math

from cases import CASES, OURS, YARDSTICK

BURNS_MS = 50  # of CPU time per second, with nothing to do
LONGEST_TURN_NS = 1_000_000
NAMES = {  # of figures that are not called what they are shown as
    'cpu_ns': 'cpu', 'switches': 'wake-ups', 'bytes_after': 'after', 'insert_ns': 'insert', 'cancel_ns': 'cancel',
    'loop_turn_ns': 'loop turn',
}


def number(value):
    """Three digits that count, without an exponent: 6.12, 61.2, 612, 6,120."""
    if value is None:
        return '-'
    if value == 0:
        return '0'
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f'{round(value, decimals):,.{min(decimals, 3)}f}' if abs(value) < 1000 else f'{value:,.0f}'


def why_not_counted(results, case, contender):
    """Why a peer is shown, but is no measure for us; or ''."""
    inline = results.median(case.name, contender, 'inline')
    if case.hand_over and inline is not None and inline > 0.5:
        return f'not counted: {inline:.0%} of the tasks ran in the thread that submitted them'
    turn = results.median(case.name, contender, 'loop_turn_ns')
    if turn is not None and turn > LONGEST_TURN_NS:
        return f'not counted: each turn of its loop visits every timer, {turn / 1e6:.0f} ms'
    burnt = results.median('idle', contender, 'cpu_ms')
    if case.no_burning and burnt is not None and burnt > BURNS_MS:
        return f'not counted: burns {burnt:.0f} ms of CPU time per s when idle'
    return ''


def is_yardstick(contender):
    return contender == YARDSTICK or contender.startswith(YARDSTICK + '-')


def peers(results, case):
    return [contender for contender in results.contenders(case.name)
            if contender != OURS and not is_yardstick(contender)]


def best_peer(results, case):
    """(median, contender) of the fastest that counts, or None."""
    counted = [(results.median(case.name, peer, case.figure), peer) for peer in peers(results, case)
               if not why_not_counted(results, case, peer)]
    return min((entry for entry in counted if entry[0] is not None), default=None)


def reference_value(results, case, goal):
    if goal.reference == '':
        return 0.0
    if goal.reference == 'peer':
        best = best_peer(results, case)
        return best and best[0]
    if goal.reference in results.contenders(case.name):
        return results.median(case.name, goal.reference, goal.figure or case.figure)
    other = next((other for other in CASES if other.name == goal.reference), None)
    return (results.median(other.name, OURS, goal.figure or other.figure) if other
            else results.median(case.name, OURS, goal.reference))


def verdict(results, case, goal):
    """The goal with its limit in this run, our figure, and whether it was reached."""
    reference = reference_value(results, case, goal)
    ours = results.median(case.name, OURS, goal.figure or case.figure)
    limit = None if reference is None else goal.factor * reference + goal.extra
    answer = {'goal': goal.text, 'limit': limit, 'ours': ours, 'reached': None, 'multiple': None}
    if results.failures_of(case.name, OURS):
        answer['verdict'] = 'failed: ' + results.failures_of(case.name, OURS)[0]
    elif ours is None or limit is None:
        answer['verdict'] = 'not measured'
    else:
        answer['reached'] = ours <= limit
        answer['multiple'] = ours / limit if limit else None
        answer['verdict'] = 'reached' if answer['reached'] else f'{ours / limit:.2f}x the goal'
    return answer


def verdicts(results, case):
    return [verdict(results, case, goal) for goal in case.goals]


# ---------------------------------------------------------------------------------------------------
# For a terminal
def range_text(results, case, contender):
    values = results.values(case.name, contender, case.figure)
    return f'{number(min(values))} to {number(max(values))}' if len(values) > 1 else ''


def other_figures(results, case, contender):
    found = [(name, results.median(case.name, contender, name)) for name in case.others]
    return ', '.join(f'{NAMES.get(name, name)} ' + (f'{value:.0%}' if name == 'inline' else number(value))
                     for name, value in found if value is not None and (name != 'inline' or value > 0.005))


def failure_text(results, case, contender):
    failed = results.failures_of(case.name, contender)
    measured = len(results.of(case.name, contender))
    return f'FAILED {len(failed)} of {len(failed) + measured}: {failed[0]}' if failed else ''


def row(results, case, contender, best):
    median = results.median(case.name, contender, case.figure)
    ratio = f'{median / best[0]:.2f}x' if best and median is not None else ''
    notes = [failure_text(results, case, contender), other_figures(results, case, contender),
             why_not_counted(results, case, contender) if contender != OURS and not is_yardstick(contender) else '',
             'the best peer' if best and contender == best[1] else '']
    return (f'  {contender:<15} {number(median):>13}  {range_text(results, case, contender):<19} {ratio:>7}  '
            + '; '.join(filter(None, notes))).rstrip()


def order(results, case):
    """Ours first, then from the fastest to the slowest, the yardstick last."""
    def key(contender):
        median = results.median(case.name, contender, case.figure)
        return (contender != OURS, is_yardstick(contender), math.inf if median is None else median)
    return sorted(results.contenders(case.name), key=key)


def case_text(results, case):
    best = best_peer(results, case)
    lines = [f'{case.name}: {case.title} ({case.unit})']
    lines += [row(results, case, contender, best) for contender in order(results, case)]
    lines += [f"  goal: at most {answer['goal']} ({number(answer['limit'])}): {answer['verdict']}"
              for answer in verdicts(results, case)]
    return '\n'.join(lines)


def measured(results):
    return [case for case in CASES if results.contenders(case.name)]


def text(results):
    return '\n\n'.join(case_text(results, case) for case in measured(results))


def counts(results):
    answers = [answer for case in measured(results) for answer in verdicts(results, case)]
    reached = sum(answer['reached'] is True for answer in answers)
    return f'{reached} of {len(answers)} goals reached'


# ---------------------------------------------------------------------------------------------------
# For docs/benchmarks.md
def table(header, rows):
    aligned = ['---'] + ['---:' if each.endswith('#') else '---' for each in header[1:]]
    cells = [[each.rstrip('#') for each in header], aligned, *rows]
    return '\n'.join('| ' + ' | '.join(each) + ' |' for each in cells)


def goal_rows(results):
    for case in measured(results):
        best = best_peer(results, case)
        for answer in verdicts(results, case):
            yield [case.title, case.unit, number(answer['ours']), f'{best[1]} {number(best[0])}' if best else '-',
                   f"{answer['goal']} ({number(answer['limit'])})", answer['verdict']]


def all_rows(results):
    for case in measured(results):
        if all(map(is_yardstick, results.contenders(case.name))):
            continue
        for contender in order(results, case):
            notes = [failure_text(results, case, contender), other_figures(results, case, contender)]
            yield [case.name, contender, number(results.median(case.name, contender, case.figure)),
                   range_text(results, case, contender), '; '.join(filter(None, notes))]


def yardstick_rows(results):
    for case in measured(results):
        if YARDSTICK in results.contenders(case.name):
            yield [case.title, case.unit, number(results.median(case.name, YARDSTICK, case.figure))]


def markdown(results, facts):
    machine = (f"{facts['cpu']}, {facts['cpus_allowed']} CPUs, {facts['system']}, Linux {facts['kernel']}, "
               f"compiler {facts['compiler']}, {facts['build'].get('buildtype', 'unknown')} build")
    goals = table(['case', 'unit', 'Runium#', 'best peer#', 'goal: at most', 'verdict'], goal_rows(results))
    everything = table(['case', 'contender', 'median#', 'lowest to highest#', 'beside it'], all_rows(results))
    yardsticks = table(['yardstick', 'unit', 'median#'], yardstick_rows(results))
    return f'Measured on {machine}.\n\n{goals}\n\n{yardsticks}\n\n{everything}'


# ---------------------------------------------------------------------------------------------------
# For programs
def case_data(results, case):
    return {
        'name': case.name, 'title': case.title, 'unit': case.unit, 'figure': case.figure,
        'contenders': {contender: {
            'medians': {figure: results.median(case.name, contender, figure)
                        for sample in results.of(case.name, contender)[:1] for figure in sample},
            'samples': results.of(case.name, contender),
            'failures': results.failures_of(case.name, contender),
            'not_counted': why_not_counted(results, case, contender),
        } for contender in order(results, case)},
        'goals': verdicts(results, case),
    }


def data(results):
    return [case_data(results, case) for case in measured(results)]
