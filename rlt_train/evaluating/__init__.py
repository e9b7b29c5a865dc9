"""The `evaluate` kind: a dataset's questions put to versions, every answer kept. Imports no torch."""
