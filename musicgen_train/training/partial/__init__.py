"""`init_from`: starting from the weights of a model of another shape."""
