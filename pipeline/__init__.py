"""One engine for the Ray stages: schedule, retry, quarantine, commit, resume, progress."""
