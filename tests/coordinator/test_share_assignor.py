"""Who of a share group reads what: nobody is left out, evenly, and with few moves."""

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.coordinator.share_assignor import simple

TOPICS, A = "abc", frozenset("a")
wants = st.dictionaries(
    st.integers(0, 9).map("m{}".format), st.frozensets(st.sampled_from(TOPICS + "z")), max_size=8
)
counts = st.dictionaries(st.sampled_from(TOPICS), st.integers(1, 9), min_size=1)
places = st.sets(st.tuples(st.sampled_from(TOPICS), st.integers(0, 10)))
# What members had before: of topics that they want or not, alone or with others.
befores = st.dictionaries(st.integers(0, 11).map("m{}".format), places)


def wanted_by(wanted, partitions, member):
    return {(it, n) for it in wanted[member] & partitions.keys() for n in range(partitions[it])}


def by_place(assignment):
    found = {}
    for member, given_to in assignment.items():
        for place in given_to:
            found.setdefault(place, set()).add(member)
    return found


@given(wants, counts, befores)
def test_nobody_is_left_out_and_nobody_gets_what_it_does_not_want(wanted, partitions, before):
    assignment = simple(wanted, partitions, before)
    assert assignment.keys() == wanted.keys()
    everything = set()
    for member in wanted:
        mine = wanted_by(wanted, partitions, member)
        assert assignment[member] <= mine
        assert bool(assignment[member]) == bool(mine)
        everything |= mine
    assert by_place(assignment).keys() == everything


@given(wants, counts, befores)
def test_members_who_want_the_same_have_as_much_within_one(wanted, partitions, before):
    wanted = dict.fromkeys(wanted, frozenset(TOPICS))
    assignment = simple(wanted, partitions, before)
    sizes = {len(it) for it in assignment.values()}
    shares = {len(it) for it in by_place(assignment).values()}
    if wanted:
        assert max(sizes) - min(sizes) <= 1
        assert max(shares) - min(shares) <= 1
        assert min(max(sizes), max(shares)) == 1  # no more have the same one than must


@given(wants, counts, befores)
def test_nothing_moves_while_nothing_changes(wanted, partitions, before):
    assignment = simple(wanted, partitions, before)
    assert simple(wanted, partitions, assignment) == assignment
    again = dict(reversed(wanted.items()))
    assert simple(again, partitions, assignment) == assignment


@given(st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_who_comes_or_goes_moves_no_more_than_a_share(members, count, comes):
    names = [f"m{n:02}" for n in range(members + 1)]
    after = dict.fromkeys(names if comes else names[:-2] or names[:1], A)
    partitions = {"a": count}
    before = simple(dict.fromkeys(names[:-1], A), partitions, {})
    assignment = simple(after, partitions, before)
    stayed = after.keys() & before.keys()
    gained = sum(len(assignment[it] - before[it]) for it in stayed)
    lost = sum(len(before[it] - assignment[it]) for it in stayed)
    share = -(-max(count, members) // min(count, members))
    assert gained + lost <= 2 * share


class Counted(set):
    """How often somebody has gone through it."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


def test_of_many_topics_that_few_share_each_is_looked_at_once():
    wanted = {f"m{n}": frozenset({f"t{n}", f"t{n + 1}"}) for n in range(200)}
    partitions = {f"t{n}": 3 for n in range(201)}
    assignment = simple(wanted, partitions, {})
    assert by_place(assignment).keys() == {(it, n) for it in partitions for n in range(3)}
    assert max(map(len, assignment.values())) <= 5
    before = {member: Counted(it) for member, it in assignment.items()}
    assert simple(wanted, partitions, before) == assignment
    assert {it.times for it in before.values()} == {1}
