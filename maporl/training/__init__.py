"""What turns a task, a team and a trainer into a run: the loop, what it tells, and what it leaves."""
