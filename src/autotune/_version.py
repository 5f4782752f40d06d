"""The version of this release; meson.build reads it."""

__version__ = "0.1.0"
