"""The exceptions of the package: what a user can mend, and a run that was asked to stop."""


class InputError(ValueError):
    """A mistake in what was asked for; its message says what came, what was expected, what to do.

    The command line prints it without a traceback and exits with status 2.
    """


class Interrupted(Exception):  # noqa: N818 - an event, not an error
    """A training run was asked to stop (SIGTERM or Ctrl-C); its state is saved.

    Attributes:
        signal: the number of the signal.
        step: how many steps are done; None for several runs at once.
    """

    def __init__(self, signal_number: int, step: int | None) -> None:
        after = "" if step is None else f" after step {step}"
        super().__init__(f"stopped by signal {signal_number}{after}")
        self.signal = signal_number
        self.step = step

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[int, int | None]]:
        """What pickle makes a copy of, in another process."""
        return type(self), (self.signal, self.step)
