"""Random trials of everything that a user, a file, a page or another process may hand over.

Each module is a kind of attack, with a function ``trial(random, folder)`` that makes one, checks
what must hold whatever comes, and returns a word for what it met. All that is random comes from
`random`: a seed repeats a trial.
"""
