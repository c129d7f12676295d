"""What a case is, and a goal: shared by the benchmark of the library and that of the Python package."""
import dataclasses

OURS = 'runium'
YARDSTICK = 'bare'
DIVIDED_IF_QUICK = dict(tasks=5, batch=5, samples=3)


@dataclasses.dataclass(frozen=True)
class Goal:
    """The figure of ours is to be at most factor x (the reference's figure) + extra.

    The reference is 'peer' (the best one that counts), the name of a contender of this case ('bare' is its
    yardstick), the name of another case (our own figure there), the name of another figure of this case and ours,
    or '' for nothing.
    """
    text: str
    reference: str
    factor: float = 1.0
    extra: float = 0.0
    figure: str = ''  # other than the case's own


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    unit: str
    program: str                # the case that the programs know it by
    settings: dict
    goals: tuple = ()
    figure: str = 'ns'          # the one that is compared
    others: tuple = ()          # shown beside it
    hand_over: bool = False     # a submitter that ran most tasks itself does not count as a peer
    no_burning: bool = False    # nor does one whose idle pool uses a core
    most_rounds: int = 100
    fewer: dict = dataclasses.field(default_factory=dict)  # contender: its tasks or samples are divided by that


def of_best(share):
    return Goal(f'1/{share} of the best peer' if share != 1 else 'the best peer', 'peer', 1 / share)


def settings_of(case, contender, quick):
    divisor = case.fewer.get(contender, 1)
    settings = {key: max(1, value // divisor) if key in ('tasks', 'samples') else value
                for key, value in case.settings.items()}
    if not quick:
        return settings
    return {key: max(1, value // DIVIDED_IF_QUICK.get(key, 1)) for key, value in settings.items()}
