"""What a service of one's own can copy: its activities, its workflow and its histories, tested."""
