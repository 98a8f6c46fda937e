"""What the linter knows, a module for each of the six dimensions of defects. All rules read English."""
