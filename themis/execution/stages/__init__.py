"""What is peculiar to each stage: its key, its call, and what it makes of the result."""
