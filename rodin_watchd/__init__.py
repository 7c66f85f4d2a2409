"""A watch-folder daemon that textures 3D models, and makes new ones, through the Hyper3D Rodin API."""

__version__ = "0.1.0"
