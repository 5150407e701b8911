"""What a renderer has to beat: answers that need no training, or only averages of a training set."""
