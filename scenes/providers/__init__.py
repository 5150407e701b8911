"""Where assets come from: the built-in ones, a user's folder, Objaverse."""
