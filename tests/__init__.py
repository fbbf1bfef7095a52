"""A package of its own, because some libraries install one of this name, which would be found instead."""
