"""A test that forgets to close a file: the suite with every warning an error must notice. Its name hides it."""


def test_that_forgets_a_file():
    open(__file__)
