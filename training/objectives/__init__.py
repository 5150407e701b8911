"""What each renderer is trained to do: one module per objective, all behind the interface of `objective.Objective`."""
