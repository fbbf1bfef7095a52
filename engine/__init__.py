"""What moves a method: configuration, the loop, checkpoints, the log, the report. No method is named here."""
