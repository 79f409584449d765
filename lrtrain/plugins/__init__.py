"""What a plugin is: its hooks and options, how it is found, checked and called, and how a package for one is made."""
