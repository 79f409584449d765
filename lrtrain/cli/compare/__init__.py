"""The command `lrtrain compare`, and what it shows meanwhile and at its end."""
