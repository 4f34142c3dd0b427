"""What is written for people, run as it stands: every code block of README.md and every example behind --help."""
