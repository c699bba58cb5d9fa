"""What `conf/` may say: one frozen schema a step, and the check that names every fault at once.

Imports none of them here, so that a step's code depends on its own schema alone.
"""
