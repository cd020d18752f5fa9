"""The hot functions. `reference` is the oracle; `native` calls torch's own recurrences."""
