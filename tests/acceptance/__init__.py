"""The README's scenarios and promises, with the real scripts, the CLI and a dev server."""
