"""The benchmark and the history recorder."""
