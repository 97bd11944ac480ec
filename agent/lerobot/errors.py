"""The errors of the export.

VisavisError (streams.errors)
└── ExportError     recordings cannot be made one dataset; says which, where and why
"""

from streams.errors import VisavisError


class ExportError(VisavisError):
    """Recordings cannot be made one dataset."""
