"""The forms in which a bundle holds a task's graph, as a user names them; a file that loads nothing."""

FORMS = ("auto", "shared", "merged")
