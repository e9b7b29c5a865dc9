"""The `collect` kind: explanations of a whole dataset, asked of the services. Imports no torch."""
