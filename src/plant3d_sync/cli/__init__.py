"""The command line: arguments in, one use case, one document out."""
