"""The sections of the study, a file each."""
