"""What each renderer is trained to do: one module an objective, all behind the interface of `base.Objective`."""
