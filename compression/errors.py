"""Typed errors of compression. Each one's text is a single sentence for a command line."""

from __future__ import annotations

from zoo.errors import ZooError


class NotApplicable(ZooError):
    """A technique that this model cannot take; the sentence names those that it can."""

    exit_code = 2


class BadStack(ZooError):
    """A list of techniques that does not parse, or in an order that cannot work."""

    exit_code = 2


class BridgeMismatch(ZooError):
    """A model and its twin in tf_keras gave different outputs; the sentence says by how much."""


class ConverterCrashed(ZooError):
    """The process that ran tfmot or a converter ended with an error or a signal."""


class UnsupportedCpu(ZooError):
    """A form that needs instructions this processor does not have."""


class BudgetNotMet(ZooError):
    """No candidate lies within the accuracy budget; the sentence says how close one came."""


class MeasurementFailed(ZooError):
    """A version did not answer while it was measured, so there is no figure to give."""
