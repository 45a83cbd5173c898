"""The project as a course: what a stage adds, practice, and the check list. No stage imports this."""
