"""The studio: the editing commands in a browser. `workshop` does the work, `app` shows it, `serving` guards it."""
