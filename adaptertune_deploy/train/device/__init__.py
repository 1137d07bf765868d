"""Where a training runs, in which precision, and what makes its steps fast there."""
