"""The promises of the README, kept by the scripts as processes and the real CLI and server."""
