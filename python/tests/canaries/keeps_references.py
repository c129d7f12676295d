"""A test that gains a reference each time: references.py must notice. Its name hides it from the suite."""
kept = []


def test_that_keeps_an_object():
    kept.append(object())
