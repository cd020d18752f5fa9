"""The sections of the study, one file each, in the report's order."""

SECTIONS = (
    "gradients", "gates", "memory", "text", "fairy_tales", "graphs", "applications", "structure",
    "sequences_over_graphs",
)  # fmt: skip
"""Names of the sections; also the names of their modules."""

FORMER_NAMES = {"tales": "fairy_tales", "both": "sequences_over_graphs"}
"""Names in version 0.1.0, on the command line and in `study.json`, by today's."""
