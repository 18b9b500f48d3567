"""Errors that a user can act on, each with the exit code the command line ends with.

A message is one line: what was wrong, where, the value, and what is allowed. It never quotes a row of a forget set: a
row is named by its index and digest. Anything raised that is not one of these is our own fault (exit code 1).
"""


class LetheError(Exception):
    """Base of every error that Lethe raises on purpose.

    Attributes:
        exit_code: what the command line returns for it.
    """

    exit_code: int = 1


class BadInput(LetheError):
    """The request, the configuration, the data or the model folder cannot be used as given."""

    exit_code = 2


class Refused(LetheError):
    """A gate or the policy says no. Signed and logged like a success."""

    exit_code = 3


class VerificationFailed(LetheError):
    """Evidence does not check out: a signature, a digest, a proof or a log."""

    exit_code = 4


class Unavailable(LetheError):
    """A service that the run needs did not answer (retried first); the run waits, resumable."""

    exit_code = 1


class TrainingDiverged(LetheError):
    """The loss stopped being a finite number; the last good checkpoint is kept and the candidate is refused."""

    exit_code = 3
