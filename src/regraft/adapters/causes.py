"""What really went wrong, below the wrappers that Kedro puts around it.

Knows exceptions; decides nothing.
"""


def cause_of(error: BaseException) -> BaseException:
    """The exception that names the fault: the first that is not Kedro's own, if it wraps one."""
    cause = error
    while type(cause).__module__.startswith("kedro.") and cause.__cause__ is not None:
        cause = cause.__cause__
    return cause
