"""How datasets and tasks are spelt, and where a task's images lay."""
