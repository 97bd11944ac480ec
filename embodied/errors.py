"""Every error this package raises on purpose. What a body cannot do is an `Outcome`, not an error.

VisavisError (streams.errors)
└── BodyError
    ├── VoiceError            speech cannot be made of a text; the actuator turns it into an `Outcome` and a `Fault`
    │   ├── VoiceCrashed      the voice's process died, twice for the same text
    │   └── VoiceSilent       the voice's process is alive and says nothing
    ├── ToolError             a function cannot be made a tool (a mistake in the program, found at construction)
    └── McpFailed             an MCP server, or a call of one of its tools, failed; it ends as a `Fault` or an `Outcome`
"""

from streams.errors import VisavisError


class BodyError(VisavisError):
    """Base of all expected errors of this package."""


class VoiceError(BodyError):
    """Speech cannot be made of a text."""


class VoiceCrashed(VoiceError):
    """The process of a voice died, and again when it was restarted."""


class VoiceSilent(VoiceError):
    """The process of a voice did not answer in time."""


class ToolError(BodyError):
    """A function cannot be made a tool: it lacks annotations, or takes what JSON cannot carry."""


class McpFailed(BodyError):
    """An MCP server cannot be used, or a call of one of its tools failed."""
