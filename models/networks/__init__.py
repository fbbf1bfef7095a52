"""Plain nn.Modules for one device; none knows a loss, a rank or a file."""
