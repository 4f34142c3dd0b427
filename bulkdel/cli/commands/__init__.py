"""The commands, one file each: its options, its help, its body and its exit status."""
