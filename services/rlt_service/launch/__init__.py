"""`rlt up`: everything on one machine from one command; nothing of it outlives the command."""
