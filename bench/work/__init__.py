"""The groups of measurements. Each runs in a process of its own: `run(settings)` returns its report."""
