"""Landscapes drawn by rule, as photographs and as paintings of the same scene."""
