"""The errors of chunk policies.

PolicyError
├── PackageError     a package cannot be used: what is wrong with which part of it
├── ChunkRefused     one inference gave nothing that may be executed; the chunk before is finished
└── DoesNotFit       the policy was made for another robot than this one
"""

from policies.errors import PolicyError


class PackageError(PolicyError):
    """A package of a chunk policy cannot be read, is damaged, or contradicts itself."""


class ChunkRefused(PolicyError):
    """One inference gave nothing that may be executed."""


class DoesNotFit(PolicyError):
    """A policy does not fit the robot that it is to drive."""
