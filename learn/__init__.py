"""The project as a course: the differences between stages, practice, and the check list. No stage imports this."""
